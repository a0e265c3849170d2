-- The ordinary commit: the run goes on, is still open and keeps the deadline that is stored. Columns
-- of the other indexes are not named, so those indexes are not touched. Compare-and-set.
UPDATE executions
SET version = ?3, in_flight = ?4, history_length = ?5, snapshot = ?6
WHERE id = ?1 AND version = ?2
