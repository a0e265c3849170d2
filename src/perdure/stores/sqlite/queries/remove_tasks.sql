-- The task rows of an execution go with it.
DELETE FROM tasks WHERE execution_id = ?
