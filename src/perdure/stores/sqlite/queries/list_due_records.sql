-- Records that their owners want to look at, earliest first.
SELECT kind, namespace, name, version, wake_at_ns, data, checksum
FROM records
WHERE wake_at_ns <= ?
ORDER BY wake_at_ns
LIMIT ?
