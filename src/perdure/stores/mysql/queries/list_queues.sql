-- Queues that hold tasks. Finds the first row of each in the index, so a long queue costs nothing.
SELECT DISTINCT t.namespace, t.queue, t.kind
FROM (SELECT queue_hash, min(position) AS position FROM tasks GROUP BY queue_hash) AS q
JOIN tasks AS t ON t.queue_hash = q.queue_hash AND t.position = q.position
