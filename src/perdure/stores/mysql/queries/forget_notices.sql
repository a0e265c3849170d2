-- What everybody has heard who hears at all.
DELETE FROM notices WHERE sent_at < %s LIMIT 100000
