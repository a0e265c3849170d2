-- The versions of records, which stay so to the end of the transaction.
SELECT kind, namespace, name, version FROM records WHERE (partition_id, kind, namespace, name) IN (%s)
ORDER BY partition_id, kind, namespace, name FOR UPDATE
