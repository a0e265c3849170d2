-- Executions whose deadline has passed, earliest first.
SELECT namespace, workflow_id, run_id
FROM executions
WHERE wake_at_ns <= ?
ORDER BY wake_at_ns
LIMIT ?
