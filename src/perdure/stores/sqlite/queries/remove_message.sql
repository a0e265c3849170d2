-- The message was delivered, or nobody wants it any more.
DELETE FROM messages WHERE id = ?
