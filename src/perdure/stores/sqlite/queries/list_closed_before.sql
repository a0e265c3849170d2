-- Executions of a namespace that closed in this way before this time, the oldest first.
SELECT namespace, workflow_id, run_id
FROM executions INDEXED BY executions_visibility
WHERE namespace = ?1 AND status = ?2 AND closed_at_ns < ?3
ORDER BY closed_at_ns
LIMIT ?4
