-- The stored states of the newest runs of workflow ids (event 0) and what is kept beside them.
SELECT c.partition_id, c.workflow_hash, c.execution_id, 0, s.checksum, s.snapshot
FROM current_runs AS c
JOIN states AS s ON s.partition_id = c.partition_id AND s.execution_id = c.execution_id
WHERE (c.partition_id, c.workflow_hash) IN (%s)
UNION ALL
SELECT c.partition_id, c.workflow_hash, c.execution_id, a.event_id, a.checksum, a.data
FROM current_runs AS c
JOIN state_parts AS a ON a.partition_id = c.partition_id AND a.execution_id = c.execution_id
WHERE (c.partition_id, c.workflow_hash) IN (%s)
