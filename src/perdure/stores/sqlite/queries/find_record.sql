-- One record.
SELECT kind, namespace, name, version, wake_at_ns, data, checksum FROM records WHERE kind = ? AND namespace = ? AND name = ?
