-- The only run of a workflow id goes.
DELETE FROM current_runs WHERE namespace = ?1 AND workflow_id = ?2 AND execution_id = ?3
