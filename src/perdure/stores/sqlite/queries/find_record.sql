-- One record.
SELECT kind, namespace, name, version, wake_at_ns, data FROM records WHERE kind = ? AND namespace = ? AND name = ?
