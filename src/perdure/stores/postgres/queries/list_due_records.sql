-- Records of some partitions that their owners want to look at, earliest first.
SELECT kind, namespace, name, version, wake_at_ns, checksum, data FROM records
WHERE wake_at_ns <= $1 AND ($2::bytea IS NULL OR get_bit($2::bytea, partition_id) = 1)
ORDER BY wake_at_ns
LIMIT $3
