-- Held to the end of the transaction: whoever sees it held knows that something may be on its way.
SELECT epoch FROM writers WHERE id = %s FOR UPDATE
