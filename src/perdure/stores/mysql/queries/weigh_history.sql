-- Who an execution is, and the bytes of its history.
SELECT e.namespace, e.workflow_id, e.run_id,
    (SELECT CAST(coalesce(sum(octet_length(h.data)), 0) AS SIGNED) FROM history AS h
     WHERE h.partition_id = %s AND h.execution_id = %s)
FROM executions AS e
WHERE e.partition_id = %s AND e.id = %s
