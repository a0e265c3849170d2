-- A writer has ended; so have those that were not heard of for a day.
DELETE FROM writers WHERE id = $1 OR touched_at < now() - interval '1 day'
