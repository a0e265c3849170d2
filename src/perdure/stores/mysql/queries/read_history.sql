-- Batches in order from the one that holds an event, if the run has that event, up to a number of bytes: one at least.
SELECT f.execution_id, f.first_event_id, f.checksum, f.data
FROM (
    SELECT h.execution_id, h.first_event_id, h.checksum, h.data,
        sum(length(h.data)) OVER (ORDER BY h.first_event_id) - length(h.data) AS past,
        sum(length(h.data)) OVER (ORDER BY h.first_event_id) AS size
    FROM executions AS e
    JOIN states AS s ON s.partition_id = e.partition_id AND s.execution_id = e.id AND s.history_length >= %s
    JOIN history AS h ON h.partition_id = e.partition_id AND h.execution_id = e.id
      AND h.first_event_id >= (
          SELECT coalesce(max(b.first_event_id), 0) FROM history AS b
          WHERE b.partition_id = e.partition_id AND b.execution_id = e.id AND b.first_event_id <= %s
      )
    WHERE e.partition_id = %s AND e.key_hash = %s
    ORDER BY h.first_event_id
    LIMIT 4000
) AS f
WHERE f.past = 0 OR f.size <= %s
ORDER BY f.first_event_id
