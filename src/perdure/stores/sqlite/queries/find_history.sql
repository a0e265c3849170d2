-- Whether a run has an event, and where its batches are.
SELECT id FROM executions
WHERE namespace = ? AND workflow_id = ? AND run_id = ? AND history_length >= ?
