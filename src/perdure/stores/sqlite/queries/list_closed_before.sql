-- Executions of a namespace that closed in this way before this time, the oldest first.
SELECT namespace, workflow_id, run_id
FROM executions INDEXED BY executions_visibility
WHERE namespace = ? AND status = ? AND closed_at_ns < ?
ORDER BY closed_at_ns
LIMIT ?
