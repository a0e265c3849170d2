-- What was told since, and what has come late.
SELECT id, sender, channel, data FROM notices WHERE id > %s OR id IN (%s) ORDER BY id LIMIT 1000
