-- A commit that closes the run, or pauses it: its place in lists changes. Compare-and-set.
UPDATE executions
SET version = ?, in_flight = ?, history_length = ?, snapshot = ?, checksum = ?, wake_at_ns = ?,
    status = ?, closed_at_ns = ?, history_bytes = ?
WHERE id = ? AND version = ?
