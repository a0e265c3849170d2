-- A page of a queue.
SELECT
    tasks.position, executions.namespace, executions.workflow_id, executions.run_id,
    tasks.scheduled_event_id, tasks.stamp, tasks.priority
FROM tasks JOIN executions ON executions.id = tasks.execution_id
WHERE tasks.namespace = ?1 AND tasks.queue = ?2 AND tasks.kind = ?3 AND tasks.position > ?4
ORDER BY tasks.position
LIMIT ?5
