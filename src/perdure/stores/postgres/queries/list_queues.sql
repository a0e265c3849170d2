-- Queues that hold tasks. Walks from one queue to the next in the index, so a long queue costs nothing.
WITH RECURSIVE found (namespace, queue, kind) AS (
    (SELECT t.namespace, t.queue, t.kind FROM tasks AS t ORDER BY t.namespace, t.queue, t.kind LIMIT 1)
    UNION ALL
    SELECT n.namespace, n.queue, n.kind
    FROM found AS f CROSS JOIN LATERAL (
        SELECT t.namespace, t.queue, t.kind FROM tasks AS t
        WHERE (t.namespace, t.queue, t.kind) > (f.namespace, f.queue, f.kind)
        ORDER BY t.namespace, t.queue, t.kind LIMIT 1
    ) AS n
)
SELECT namespace, queue, kind FROM found
