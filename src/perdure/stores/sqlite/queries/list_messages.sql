-- A page of messages.
SELECT position, data FROM messages WHERE position > ?1 ORDER BY position LIMIT ?2
