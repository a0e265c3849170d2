-- The state of one run.
SELECT id, snapshot, checksum FROM executions WHERE namespace = ? AND workflow_id = ? AND run_id = ?
