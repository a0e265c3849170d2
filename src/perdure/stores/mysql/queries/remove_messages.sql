-- Messages that are delivered.
DELETE FROM messages WHERE id_hash IN (%s)
