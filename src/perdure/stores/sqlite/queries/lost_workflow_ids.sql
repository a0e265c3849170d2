-- Workflow ids that have executions and do not lead to the newest of them.
SELECT newest.workflow_id
FROM (SELECT namespace, workflow_id, max(id) AS id FROM executions GROUP BY namespace, workflow_id) AS newest
LEFT JOIN current_runs
    ON current_runs.namespace = newest.namespace AND current_runs.workflow_id = newest.workflow_id
WHERE current_runs.execution_id IS NULL OR current_runs.execution_id != newest.id
