-- A page of the messages for workflows of some partitions; see list_tasks for what is settled.
SELECT m.transaction, m.number, m.id, m.checksum, m.data,
    m.transaction < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    OR m.written_at < now() - make_interval(secs => $5) AS settled
FROM messages AS m
WHERE (m.transaction, m.number) > ($1, $2) AND ($3::bytea IS NULL OR get_bit($3::bytea, m.partition_id) = 1)
ORDER BY m.transaction, m.number
LIMIT $4
