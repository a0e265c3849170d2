-- Records of some partitions to be looked at, earliest first.
SELECT w.kind, w.namespace, w.name, w.version, w.wake_at_ns, w.checksum, w.data
FROM records AS w FORCE INDEX (records_wake)
WHERE w.wake_at_ns <= %s AND %p
ORDER BY w.wake_at_ns
LIMIT %s
