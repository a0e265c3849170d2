-- Executions of some partitions whose deadline has passed, earliest first.
SELECT e.namespace, e.workflow_id, e.run_id
FROM (
    SELECT w.partition_id, w.execution_id, w.wake_at_ns FROM wakes AS w
    WHERE w.wake_at_ns <= %s AND %p
    ORDER BY w.wake_at_ns
    LIMIT %s
) AS d
STRAIGHT_JOIN executions AS e ON e.partition_id = d.partition_id AND e.id = d.execution_id
ORDER BY d.wake_at_ns
