-- The state of one run.
SELECT snapshot FROM executions WHERE namespace = ? AND workflow_id = ? AND run_id = ?
