-- Whether a run has an event, and where its batches are.
SELECT id FROM executions
WHERE namespace = ?1 AND workflow_id = ?2 AND run_id = ?3 AND history_length >= ?4
