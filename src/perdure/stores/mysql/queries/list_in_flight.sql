-- Open executions of some partitions with a task in a worker's hands, in key order.
SELECT e.namespace, e.workflow_id, e.run_id
FROM in_flight AS w
JOIN executions AS e ON e.partition_id = w.partition_id AND e.id = w.execution_id
WHERE %p AND (e.namespace, e.workflow_id, e.run_id) > (%s, %s, %s)
ORDER BY e.namespace, e.workflow_id, e.run_id
LIMIT %s
