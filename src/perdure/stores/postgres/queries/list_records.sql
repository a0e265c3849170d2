-- A page of the records of a kind, of some partitions, in one namespace.
SELECT kind, namespace, name, version, wake_at_ns, checksum, data FROM records
WHERE kind = $1 AND namespace = $2 AND name > $3
  AND ($4::bytea IS NULL OR get_bit($4::bytea, partition_id) = 1)
ORDER BY name
LIMIT $5
