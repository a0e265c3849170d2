-- Executions whose deadline has passed, earliest first.
SELECT namespace, workflow_id, run_id
FROM executions
WHERE wake_at_ns <= ?1
ORDER BY wake_at_ns
LIMIT ?2
