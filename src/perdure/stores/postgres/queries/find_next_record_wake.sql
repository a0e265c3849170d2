-- When the next record of some partitions is to be looked at, past a time.
SELECT wake_at_ns FROM records
WHERE wake_at_ns > $1 AND ($2::bytea IS NULL OR get_bit($2::bytea, partition_id) = 1)
ORDER BY wake_at_ns
LIMIT 1
