-- A commit that also moves the deadline or the mark of being in flight; the run goes on and is still open.
-- Compare-and-set.
UPDATE executions
SET version = ?, in_flight = ?, history_length = ?, snapshot = ?, checksum = ?, wake_at_ns = ?
WHERE id = ? AND version = ?
