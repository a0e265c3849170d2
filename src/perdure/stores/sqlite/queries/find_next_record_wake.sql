-- When the next record is to be looked at, past a time.
SELECT min(wake_at_ns) FROM records WHERE wake_at_ns > ?
