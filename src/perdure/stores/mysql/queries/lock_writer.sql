-- Held to the end of the transaction: whoever sees it held knows that something may be on its way.
SELECT epoch, last_group, applied FROM writers WHERE id = %s FOR UPDATE
