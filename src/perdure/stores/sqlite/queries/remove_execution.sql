-- An execution goes.
DELETE FROM executions WHERE id = ?
