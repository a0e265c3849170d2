-- A page of the records of a kind, of some partitions, in all namespaces.
SELECT kind, namespace, name, version, wake_at_ns, checksum, data FROM records
WHERE kind = $1 AND (namespace, name) > ($2, $3)
  AND ($4::bytea IS NULL OR get_bit($4::bytea, partition_id) = 1)
ORDER BY namespace, name
LIMIT $5
