-- A page of a queue.
SELECT
    tasks.position, executions.namespace, executions.workflow_id, executions.run_id,
    tasks.scheduled_event_id, tasks.stamp
FROM tasks JOIN executions ON executions.id = tasks.execution_id
WHERE tasks.namespace = ? AND tasks.queue = ? AND tasks.kind = ? AND tasks.position > ?
ORDER BY tasks.position
LIMIT ?
