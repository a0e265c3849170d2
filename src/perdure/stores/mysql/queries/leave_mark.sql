-- The mark of a transaction, which is found there if it is durable.
UPDATE writers SET last_group = %s, last_position = %s, applied = %s WHERE id = %s
