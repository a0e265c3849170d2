-- Whether rows stand at transactions that this server has not reached: they were restored from another one.
SELECT EXISTS (SELECT FROM tasks WHERE transaction >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint),
    EXISTS (SELECT FROM messages WHERE transaction >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
