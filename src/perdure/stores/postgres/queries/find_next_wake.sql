-- The earliest deadline of some partitions past a time.
SELECT w.wake_at_ns FROM wakes AS w
WHERE w.wake_at_ns > $1 AND ($2::bytea IS NULL OR get_bit($2::bytea, w.partition_id) = 1)
ORDER BY w.wake_at_ns
LIMIT 1
