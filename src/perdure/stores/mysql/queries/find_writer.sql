-- What a writer has left behind.
SELECT epoch, last_group, applied FROM writers WHERE id = %s
