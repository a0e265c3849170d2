-- How many rows a queue has.
SELECT count(*) FROM tasks WHERE namespace = ? AND queue = ? AND kind = ?
