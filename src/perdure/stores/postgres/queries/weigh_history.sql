-- Who an execution is, and the bytes of its history.
SELECT e.namespace, e.workflow_id, e.run_id,
    (SELECT coalesce(sum(octet_length(h.data)), 0)::bigint FROM history AS h
     WHERE h.partition_id = $1 AND h.execution_id = $2) AS bytes
FROM executions AS e
WHERE e.partition_id = $1 AND e.id = $2
