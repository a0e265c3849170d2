-- What a writer must know of runs that it has not read or written lately.
SELECT d.o::int4, e.id, s.version, w.wake_at_ns, f.execution_id IS NOT NULL, e.status
FROM unnest($1::int2[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS d(p, n, w, r, o)
JOIN executions AS e ON e.partition_id = d.p AND e.namespace = d.n AND e.workflow_id = d.w AND e.run_id = d.r
JOIN states AS s ON s.partition_id = d.p AND s.execution_id = e.id
LEFT JOIN wakes AS w ON w.partition_id = d.p AND w.execution_id = e.id
LEFT JOIN in_flight AS f ON f.partition_id = d.p AND f.execution_id = e.id
