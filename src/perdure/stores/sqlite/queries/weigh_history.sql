-- The bytes of an execution's history.
SELECT coalesce(sum(length(data)), 0) FROM history WHERE execution_id = ?
