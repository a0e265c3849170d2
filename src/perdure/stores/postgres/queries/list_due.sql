-- Executions of some partitions (a bit for each; null: of all) whose deadline has passed, earliest first.
SELECT e.namespace, e.workflow_id, e.run_id
FROM (
    SELECT w.partition_id, w.execution_id, w.wake_at_ns FROM wakes AS w
    WHERE w.wake_at_ns <= $1 AND ($2::bytea IS NULL OR get_bit($2::bytea, w.partition_id) = 1)
    ORDER BY w.wake_at_ns
    LIMIT $3
) AS d
JOIN executions AS e ON e.partition_id = d.partition_id AND e.id = d.execution_id
ORDER BY d.wake_at_ns
