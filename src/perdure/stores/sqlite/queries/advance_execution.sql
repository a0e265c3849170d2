-- The ordinary commit: the run goes on, is still open and keeps the deadline that is stored. Columns
-- of the other indexes are not named, so those indexes are not touched. Compare-and-set.
UPDATE executions
SET version = ?, in_flight = ?, history_length = ?, snapshot = ?
WHERE id = ? AND version = ?
