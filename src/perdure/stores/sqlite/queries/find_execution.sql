-- What the writer must know of a run that it has not written lately.
SELECT id, version, wake_at_ns, closed_at_ns IS NULL, status
FROM executions
WHERE namespace = ?1 AND workflow_id = ?2 AND run_id = ?3
