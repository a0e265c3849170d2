-- One execution by its number.
SELECT snapshot, checksum FROM executions WHERE id = ?
