-- A page of the records of a kind in all namespaces.
SELECT kind, namespace, name, version, wake_at_ns, data
FROM records
WHERE kind = ?1 AND (namespace, name) > (?2, ?3)
ORDER BY namespace, name
LIMIT ?4
