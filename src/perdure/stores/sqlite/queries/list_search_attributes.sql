-- What an execution can be found by beside the columns that every execution has.
SELECT name, type, value
FROM search_attributes
WHERE execution_id = (SELECT id FROM executions WHERE namespace = ? AND workflow_id = ? AND run_id = ?)
