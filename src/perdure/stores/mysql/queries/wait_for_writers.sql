-- Waits until what some writers are writing now is over.
SELECT last_position FROM writers WHERE id IN (%s) LOCK IN SHARE MODE
