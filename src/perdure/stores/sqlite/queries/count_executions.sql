-- Executions by status.
SELECT status, count(*) FROM executions WHERE namespace = ?1 GROUP BY status
