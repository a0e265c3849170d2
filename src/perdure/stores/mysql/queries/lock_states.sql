-- The versions that are stored, which stay so to the end of the transaction.
SELECT execution_id, version FROM states WHERE (partition_id, execution_id) IN (%s)
ORDER BY partition_id, execution_id FOR UPDATE
