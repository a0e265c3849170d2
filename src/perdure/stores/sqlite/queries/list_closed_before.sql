-- Executions of a namespace that closed in this way before this time, the oldest first.
SELECT namespace, workflow_id, run_id
FROM executions INDEXED BY executions_visibility
WHERE namespace = ?1 AND status = ?2 AND coalesce(closed_at_ns, 9223372036854775807) < ?3
ORDER BY coalesce(closed_at_ns, 9223372036854775807)
LIMIT ?4
