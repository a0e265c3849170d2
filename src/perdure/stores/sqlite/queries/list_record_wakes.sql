-- When owners want to look at their records, and which, earliest first.
SELECT wake_at_ns, namespace, name
FROM records
WHERE wake_at_ns > ?
ORDER BY wake_at_ns
