-- The rows of a queue.
SELECT count(*) FROM tasks WHERE queue_hash = %s
