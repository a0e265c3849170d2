-- Queues that hold tasks. Walks from one queue to the next in the index, so a long queue costs nothing.
WITH RECURSIVE found (namespace, queue, kind) AS (
    SELECT * FROM (SELECT namespace, queue, kind FROM tasks ORDER BY namespace, queue, kind LIMIT 1)
    UNION ALL
    SELECT following.namespace, following.queue, following.kind
    FROM found JOIN tasks AS following ON following.position = (
        SELECT position FROM tasks
        WHERE (namespace, queue, kind) > (found.namespace, found.queue, found.kind)
        ORDER BY namespace, queue, kind LIMIT 1
    )
)
SELECT namespace, queue, kind FROM found
