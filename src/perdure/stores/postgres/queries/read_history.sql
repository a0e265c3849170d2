-- Of some runs, by their places in the arrays: batches in order from the one that holds an event, if the run has that
-- event, up to a number of bytes; one at least.
SELECT w.o::int4, f.execution_id, f.first_event_id, f.checksum, f.data
FROM unnest($1::int2[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[])
    WITH ORDINALITY AS w(p, n, w, r, first, bytes, o)
CROSS JOIN LATERAL (
    SELECT h.execution_id, h.first_event_id, h.checksum, h.data,
        sum(octet_length(h.data)) OVER (ORDER BY h.first_event_id) - octet_length(h.data) AS before,
        sum(octet_length(h.data)) OVER (ORDER BY h.first_event_id) AS size
    FROM executions AS e
    JOIN states AS s ON s.partition_id = w.p AND s.execution_id = e.id AND s.history_length >= w.first
    JOIN history AS h ON h.partition_id = w.p AND h.execution_id = e.id
      AND h.first_event_id >= (
          SELECT coalesce(max(b.first_event_id), 0) FROM history AS b
          WHERE b.partition_id = w.p AND b.execution_id = e.id AND b.first_event_id <= w.first
      )
    WHERE e.partition_id = w.p AND e.namespace = w.n AND e.workflow_id = w.w AND e.run_id = w.r
    ORDER BY h.first_event_id
    LIMIT 4000
) AS f
WHERE f.before = 0 OR f.size <= w.bytes
ORDER BY w.o, f.first_event_id
