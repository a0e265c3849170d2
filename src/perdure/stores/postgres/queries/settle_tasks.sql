-- Tasks from another server stand before all that will come, in their order.
UPDATE tasks AS t SET transaction = 0, number = n.number
FROM (
    SELECT partition_id, execution_id, scheduled_event_id, kind,
        row_number() OVER (ORDER BY transaction, number) AS number
    FROM tasks
) AS n
WHERE t.partition_id = n.partition_id AND t.execution_id = n.execution_id
  AND t.scheduled_event_id = n.scheduled_event_id AND t.kind = n.kind
