-- The task was started, or is not owed any more.
DELETE FROM tasks WHERE execution_id = ? AND scheduled_event_id = ? AND kind = ?
