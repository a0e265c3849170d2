-- When the next record is to be looked at.
SELECT min(wake_at_ns) FROM records WHERE wake_at_ns IS NOT NULL
