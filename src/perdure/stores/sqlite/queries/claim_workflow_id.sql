-- The first run of a workflow id becomes its current one; fails when there is a run already.
INSERT INTO current_runs (namespace, workflow_id, execution_id) VALUES (?, ?, ?)
