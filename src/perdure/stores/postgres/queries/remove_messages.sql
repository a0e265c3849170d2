-- Messages were delivered, or nobody wants them any more.
DELETE FROM messages WHERE id = ANY ($1::text[])
