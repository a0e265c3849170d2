-- How many rows a queue has.
SELECT count(*) FROM tasks WHERE namespace = $1 AND queue = $2 AND kind = $3
