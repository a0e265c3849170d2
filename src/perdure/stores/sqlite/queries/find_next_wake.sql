-- The earliest deadline past a time.
SELECT min(wake_at_ns) FROM executions WHERE wake_at_ns > ?
