-- The task stands at the end of its queue; an older row for the same scheduled event gives way.
INSERT OR REPLACE INTO tasks (position, namespace, queue, kind, execution_id, scheduled_event_id, stamp, priority)
VALUES (?, ?, ?, ?, ?, ?, ?, 0)
