-- A new run takes the place of the expected current one. Compare-and-set.
UPDATE current_runs
SET execution_id = ?
WHERE namespace = ? AND workflow_id = ?
  AND execution_id = (SELECT id FROM executions WHERE namespace = ? AND workflow_id = ? AND run_id = ?)
