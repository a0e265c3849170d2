-- A record goes, if its version is the expected one.
DELETE FROM records WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND version = ?4
