-- The only run of a workflow id goes.
DELETE FROM current_runs WHERE namespace = ? AND workflow_id = ? AND execution_id = ?
