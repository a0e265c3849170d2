-- The task was started, or is not owed any more.
DELETE FROM tasks WHERE execution_id = ?1 AND scheduled_event_id = ?2 AND kind = ?3
