-- Open executions with a task in a worker's hands. Few compared with all executions, so they are
-- found by their own index and then sorted; without the hint the planner would walk all keys.
SELECT namespace, workflow_id, run_id
FROM executions INDEXED BY executions_in_flight
WHERE in_flight = 1 AND (namespace, workflow_id, run_id) > (?, ?, ?)
ORDER BY namespace, workflow_id, run_id
LIMIT ?
