-- Of some runs those that are closed, which stay there to the end of the transaction.
SELECT e.key_hash, e.partition_id, e.id, e.namespace, e.workflow_id FROM executions AS e
WHERE (e.partition_id, e.key_hash) IN (%s) AND e.closed_at_ns IS NOT NULL
ORDER BY e.partition_id, e.key_hash FOR UPDATE
