-- The highest numbers given out so far.
SELECT (SELECT coalesce(max(id), 0) FROM executions), (SELECT coalesce(max(position), 0) FROM tasks),
    (SELECT coalesce(max(position), 0) FROM messages)
