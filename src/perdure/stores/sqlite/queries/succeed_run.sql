-- A new run takes the place of the expected current one. Compare-and-set.
UPDATE current_runs
SET execution_id = ?3
WHERE namespace = ?1 AND workflow_id = ?2
  AND execution_id = (SELECT id FROM executions WHERE namespace = ?1 AND workflow_id = ?2 AND run_id = ?4)
