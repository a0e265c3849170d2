-- A page of a queue.
SELECT t.position, t.number, e.namespace, e.workflow_id, e.run_id, t.scheduled_event_id, t.stamp
FROM tasks AS t FORCE INDEX (tasks_queue)
JOIN executions AS e ON e.partition_id = t.partition_id AND e.id = t.execution_id
WHERE t.queue_hash = %s AND t.position >= %s AND (t.position, t.number) > (%s, %s)
ORDER BY t.position, t.number
LIMIT %s
