-- The ordinary commit: the run goes on, is still open, and keeps the deadline and the mark of being in flight
-- that are stored. No column of an index is named, so no index is touched. Compare-and-set.
UPDATE executions
SET version = ?, history_length = ?, snapshot = ?, checksum = ?
WHERE id = ? AND version = ?
