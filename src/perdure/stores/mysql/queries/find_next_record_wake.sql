-- The earliest time after this one at which a record of some partitions is to be looked at.
SELECT w.wake_at_ns FROM records AS w FORCE INDEX (records_wake)
WHERE w.wake_at_ns > %s AND %p ORDER BY w.wake_at_ns LIMIT 1
