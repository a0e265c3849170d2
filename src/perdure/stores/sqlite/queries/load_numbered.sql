-- One execution by its number.
SELECT snapshot FROM executions WHERE id = ?
