-- The next block of numbers.
UPDATE counters SET value = LAST_INSERT_ID(value + 1) WHERE name = 'executions'
