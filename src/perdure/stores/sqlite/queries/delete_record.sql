-- A record goes, if its version is the expected one.
DELETE FROM records WHERE kind = ? AND namespace = ? AND name = ? AND version = ?
