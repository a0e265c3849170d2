-- Executions of a namespace and some partitions that closed in this way before this time, the oldest first.
SELECT e.namespace, e.workflow_id, e.run_id
FROM executions AS e
WHERE e.namespace = $1 AND e.status = $2 AND e.closed_at_ns < $3
  AND ($4::bytea IS NULL OR get_bit($4::bytea, e.partition_id) = 1)
ORDER BY e.closed_at_ns
LIMIT $5
