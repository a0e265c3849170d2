-- What is known of runs beside their states, by the hashes of their keys.
SELECT e.key_hash, e.id, e.partition_id, s.version, w.wake_at_ns, f.execution_id IS NOT NULL, e.status
FROM executions AS e
JOIN states AS s ON s.partition_id = e.partition_id AND s.execution_id = e.id
LEFT JOIN wakes AS w ON w.partition_id = e.partition_id AND w.execution_id = e.id
LEFT JOIN in_flight AS f ON f.partition_id = e.partition_id AND f.execution_id = e.id
WHERE (e.partition_id, e.key_hash) IN (%s)
