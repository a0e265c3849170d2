-- One record.
SELECT kind, namespace, name, version, wake_at_ns, checksum, data FROM records
WHERE partition_id = $1 AND kind = $2 AND namespace = $3 AND name = $4
