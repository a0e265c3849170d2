-- Batches in order from the one that holds an event, if the run has that event, up to a number of bytes: one at least.
SELECT f.execution_id, f.first_event_id, f.checksum, f.data
FROM (
    SELECT h.execution_id, h.first_event_id, h.checksum, h.data,
        sum(octet_length(h.data)) OVER (ORDER BY h.first_event_id) - octet_length(h.data) AS before,
        sum(octet_length(h.data)) OVER (ORDER BY h.first_event_id) AS size
    FROM executions AS e
    JOIN states AS s ON s.partition_id = $1 AND s.execution_id = e.id AND s.history_length >= $5
    JOIN history AS h ON h.partition_id = $1 AND h.execution_id = e.id
      AND h.first_event_id >= (
          SELECT coalesce(max(b.first_event_id), 0) FROM history AS b
          WHERE b.partition_id = $1 AND b.execution_id = e.id AND b.first_event_id <= $5
      )
    WHERE e.partition_id = $1 AND e.namespace = $2 AND e.workflow_id = $3 AND e.run_id = $4
    ORDER BY h.first_event_id
    LIMIT 4000
) AS f
WHERE f.before = 0 OR f.size <= $6
ORDER BY f.first_event_id
