-- The newest run that is left of a workflow id becomes its current one, if there is one.
INSERT INTO current_runs (partition_id, workflow_hash, execution_id, run_id)
SELECT partition_id, %s, id, run_id FROM executions FORCE INDEX (executions_key)
WHERE namespace = %s AND workflow_id = %s AND partition_id = %s ORDER BY started_at_ns DESC, id DESC LIMIT 1
