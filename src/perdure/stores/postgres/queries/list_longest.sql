-- The executions with the most events, of a range of partitions.
SELECT partition_id, execution_id, history_length FROM states
WHERE partition_id >= $1 AND partition_id < $2
ORDER BY history_length DESC
LIMIT $3
