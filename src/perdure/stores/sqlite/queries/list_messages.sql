-- A page of messages.
SELECT position, data, checksum FROM messages WHERE position > ? ORDER BY position LIMIT ?
