-- What the writer must know of a run that it has not written lately.
SELECT id, version, wake_at_ns, closed_at_ns IS NULL, status, in_flight
FROM executions
WHERE namespace = ? AND workflow_id = ? AND run_id = ?
