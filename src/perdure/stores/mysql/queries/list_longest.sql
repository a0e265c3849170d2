-- The executions with the most events, of a range of partitions.
SELECT partition_id, execution_id, history_length FROM states
WHERE partition_id >= %s AND partition_id < %s
ORDER BY history_length DESC
LIMIT %s
