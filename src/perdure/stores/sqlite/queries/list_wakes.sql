-- Deadlines and whose they are, earliest first.
SELECT wake_at_ns, namespace, workflow_id
FROM executions
WHERE wake_at_ns > ?
ORDER BY wake_at_ns
