-- One record.
SELECT kind, namespace, name, version, wake_at_ns, data FROM records WHERE kind = ?1 AND namespace = ?2 AND name = ?3
