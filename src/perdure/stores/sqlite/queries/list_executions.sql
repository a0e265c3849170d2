-- A page of summaries, as one row of JSON: a thread that fetched row by row would have to win the
-- interpreter lock back for each of them. ? null: open and closed; 1: open; 0: closed.
SELECT json_group_array(
    json_array(workflow_id, run_id, workflow_type, task_queue, status, started_at_ns, closed_at_ns, history_length)
)
FROM (
    SELECT workflow_id, run_id, workflow_type, task_queue, status, started_at_ns, closed_at_ns, history_length
    FROM executions
    WHERE namespace = ?
      AND (workflow_id, run_id) > (?, ?)
      AND (? IS NULL OR (closed_at_ns IS NULL) = ?)
      AND (? IS NULL OR workflow_type = ?)
    ORDER BY workflow_id, run_id
    LIMIT ?
)
