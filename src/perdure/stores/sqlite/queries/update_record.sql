-- A record is replaced, if its version is the expected one.
UPDATE records SET version = ? + 1, wake_at_ns = ?, data = ?, checksum = ?
WHERE kind = ? AND namespace = ? AND name = ? AND version = ?
