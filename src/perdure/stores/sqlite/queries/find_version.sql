-- How far an execution has come.
SELECT version FROM executions WHERE id = ?
