-- A page of the messages for workflows of some partitions.
SELECT w.position, w.number, w.id, w.checksum, w.data
FROM messages AS w FORCE INDEX (messages_position)
WHERE w.position >= %s AND (w.position, w.number) > (%s, %s) AND %p
ORDER BY w.position, w.number
LIMIT %s
