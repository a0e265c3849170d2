-- The newest run of a workflow id goes: the newest of those that are left takes its place.
UPDATE current_runs
SET execution_id = (
    SELECT max(id) FROM executions WHERE namespace = ?1 AND workflow_id = ?2 AND id != ?3
)
WHERE namespace = ?1 AND workflow_id = ?2 AND execution_id = ?3
  AND EXISTS (SELECT 1 FROM executions WHERE namespace = ?1 AND workflow_id = ?2 AND id != ?3)
