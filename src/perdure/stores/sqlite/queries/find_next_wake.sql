-- The earliest deadline.
SELECT min(wake_at_ns) FROM executions WHERE wake_at_ns IS NOT NULL
