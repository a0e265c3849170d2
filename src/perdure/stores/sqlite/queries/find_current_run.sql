-- The run that a new run of this workflow id is compared with.
SELECT executions.run_id
FROM current_runs JOIN executions ON executions.id = current_runs.execution_id
WHERE current_runs.namespace = ? AND current_runs.workflow_id = ?
