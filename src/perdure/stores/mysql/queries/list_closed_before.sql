-- Executions of a namespace and some partitions that closed in this way before this time, the oldest first.
SELECT w.namespace, w.workflow_id, w.run_id
FROM executions AS w FORCE INDEX (executions_visibility)
WHERE w.namespace = %s AND w.status = %s AND w.closed_at_ns < %s AND %p
ORDER BY w.closed_at_ns
LIMIT %s
