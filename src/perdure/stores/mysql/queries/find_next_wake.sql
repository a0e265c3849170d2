-- The earliest deadline of some partitions later than a time.
SELECT w.wake_at_ns FROM wakes AS w WHERE w.wake_at_ns > %s AND %p ORDER BY w.wake_at_ns LIMIT 1
