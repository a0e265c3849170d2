-- A page of the records of a kind in all namespaces.
SELECT kind, namespace, name, version, wake_at_ns, data, checksum
FROM records
WHERE kind = ? AND (namespace, name) > (?, ?)
ORDER BY namespace, name
LIMIT ?
