-- The state of the newest run of a workflow id.
SELECT executions.id, executions.snapshot, executions.checksum
FROM current_runs JOIN executions ON executions.id = current_runs.execution_id
WHERE current_runs.namespace = ? AND current_runs.workflow_id = ?
