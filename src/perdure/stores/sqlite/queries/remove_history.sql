-- The events of an execution go with it.
DELETE FROM history WHERE execution_id = ?
