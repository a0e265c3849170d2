-- The executions with the most events.
SELECT id, namespace, workflow_id, run_id, history_length
FROM executions
ORDER BY history_length DESC
LIMIT ?
