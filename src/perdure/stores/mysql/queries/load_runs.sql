-- The stored states of runs (event 0) and what is kept beside them, by the hashes of their keys.
SELECT e.partition_id, e.key_hash, e.id, 0, s.checksum, s.snapshot
FROM executions AS e
JOIN states AS s ON s.partition_id = e.partition_id AND s.execution_id = e.id
WHERE (e.partition_id, e.key_hash) IN (%s)
UNION ALL
SELECT e.partition_id, e.key_hash, e.id, a.event_id, a.checksum, a.data
FROM executions AS e
JOIN state_parts AS a ON a.partition_id = e.partition_id AND a.execution_id = e.id
WHERE (e.partition_id, e.key_hash) IN (%s)
