-- A page of the records of a kind in one namespace.
SELECT kind, namespace, name, version, wake_at_ns, data, checksum
FROM records
WHERE kind = ? AND namespace = ? AND name > ?
ORDER BY name
LIMIT ?
