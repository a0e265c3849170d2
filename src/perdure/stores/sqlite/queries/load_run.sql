-- The state of one run.
SELECT snapshot FROM executions WHERE namespace = ?1 AND workflow_id = ?2 AND run_id = ?3
