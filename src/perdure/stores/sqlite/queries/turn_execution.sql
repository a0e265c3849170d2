-- A commit that also moves the deadline; the run goes on and is still open. Compare-and-set.
UPDATE executions
SET version = ?3, in_flight = ?4, history_length = ?5, snapshot = ?6, wake_at_ns = ?7
WHERE id = ?1 AND version = ?2
