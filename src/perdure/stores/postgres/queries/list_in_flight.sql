-- Open executions of some partitions with a task in a worker's hands, in key order.
SELECT e.namespace, e.workflow_id, e.run_id
FROM in_flight AS f
JOIN executions AS e ON e.partition_id = f.partition_id AND e.id = f.execution_id
WHERE ($4::bytea IS NULL OR get_bit($4::bytea, f.partition_id) = 1)
  AND (e.namespace, e.workflow_id, e.run_id) > ($1, $2, $3)
ORDER BY e.namespace, e.workflow_id, e.run_id
LIMIT $5
