-- A record is replaced, if its version is the expected one.
UPDATE records SET version = ?4 + 1, wake_at_ns = ?5, data = ?6
WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND version = ?4
