-- How far each writer has come.
SELECT id, last_position FROM writers
