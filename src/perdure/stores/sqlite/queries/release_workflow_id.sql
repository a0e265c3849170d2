-- The newest run of a workflow id goes: the newest of those that are left takes its place.
UPDATE current_runs
SET execution_id = (
    SELECT max(id) FROM executions WHERE namespace = ? AND workflow_id = ? AND id != ?
)
WHERE namespace = ? AND workflow_id = ? AND execution_id = ?
  AND EXISTS (SELECT 1 FROM executions WHERE namespace = ? AND workflow_id = ? AND id != ?)
