-- A page of a queue, with whether each row's place is settled: nothing will appear before it any more. Of transactions
-- that began before now and go on nothing is known; but ours end within a time that is bounded, others do not matter.
SELECT t.transaction, t.number, e.namespace, e.workflow_id, e.run_id, t.scheduled_event_id, t.stamp,
    t.transaction < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    OR t.written_at < now() - make_interval(secs => $7) AS settled
FROM tasks AS t
JOIN executions AS e ON e.partition_id = t.partition_id AND e.id = t.execution_id
WHERE t.namespace = $1 AND t.queue = $2 AND t.kind = $3 AND (t.transaction, t.number) > ($4, $5)
ORDER BY t.transaction, t.number
LIMIT $6
