-- A record.
SELECT kind, namespace, name, version, wake_at_ns, checksum, data
FROM records WHERE partition_id = %s AND kind = %s AND namespace = %s AND name = %s
