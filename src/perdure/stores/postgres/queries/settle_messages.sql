-- Messages from another server stand before all that will come, in their order.
UPDATE messages AS m SET transaction = 0, number = n.number
FROM (SELECT id, partition_id, row_number() OVER (ORDER BY transaction, number) AS number FROM messages) AS n
WHERE m.id = n.id AND m.partition_id = n.partition_id
