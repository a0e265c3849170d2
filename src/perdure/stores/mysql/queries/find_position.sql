-- Where what is written now stands: by the clock, and behind all that is durable even if the clock was set back.
SELECT GREATEST(CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED), coalesce(max(last_position), 0) + 1) FROM writers
