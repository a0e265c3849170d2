-- What everybody has read who reads at all.
DELETE FROM notices WHERE sent_at < %s LIMIT 1000
