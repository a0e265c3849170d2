-- Every batch of events, to check it.
SELECT history.execution_id, executions.workflow_id, history.first_event_id, history.data, history.checksum
FROM history LEFT JOIN executions ON executions.id = history.execution_id
