-- A page of messages.
SELECT position, data FROM messages WHERE position > ? ORDER BY position LIMIT ?
