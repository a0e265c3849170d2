-- The stored states of runs, or of the newest runs of workflow ids where a run id is null, by their places in the arrays.
SELECT d.o::int4, e.id, e.partition_id, s.checksum, s.snapshot, q.events, q.checksums, q.parts
FROM unnest($1::int2[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS d(p, n, w, r, o)
CROSS JOIN LATERAL (
    SELECT x.id, x.partition_id FROM executions AS x
    WHERE d.r IS NOT NULL
      AND x.partition_id = d.p AND x.namespace = d.n AND x.workflow_id = d.w AND x.run_id = d.r
    UNION ALL
    SELECT r.execution_id, r.partition_id FROM current_runs AS r
    WHERE d.r IS NULL AND r.partition_id = d.p AND r.namespace = d.n AND r.workflow_id = d.w
) AS e
JOIN states AS s ON s.partition_id = d.p AND s.execution_id = e.id
CROSS JOIN LATERAL (
    SELECT array_agg(a.event_id) AS events, array_agg(a.checksum) AS checksums, array_agg(a.data) AS parts
    FROM state_parts AS a WHERE a.partition_id = d.p AND a.execution_id = e.id
) AS q
