-- A commit that closes the run, or pauses it: its place in lists changes. Compare-and-set.
UPDATE executions
SET version = ?3, in_flight = ?4, history_length = ?5, snapshot = ?6, wake_at_ns = ?7,
    status = ?8, closed_at_ns = ?9, history_bytes = ?10
WHERE id = ?1 AND version = ?2
