-- The mark of a transaction, which is found there if it is durable. Under another epoch it is an error, and what stands
-- behind it in the same text is not begun.
UPDATE writers SET last_group = %s, last_position = %s, applied = %s, epoch = IF(epoch = %s, epoch, NULL) WHERE id = %s
