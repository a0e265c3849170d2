-- The state of one run.
SELECT id, snapshot FROM executions WHERE namespace = ? AND workflow_id = ? AND run_id = ?
