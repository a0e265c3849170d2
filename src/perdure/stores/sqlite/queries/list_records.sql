-- A page of the records of a kind in one namespace.
SELECT kind, namespace, name, version, wake_at_ns, data
FROM records
WHERE kind = ?1 AND namespace = ?2 AND name > ?3
ORDER BY name
LIMIT ?4
