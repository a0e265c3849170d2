-- An execution can be found by this value; a list may name one twice.
INSERT OR IGNORE INTO search_attributes (execution_id, name, type, value) VALUES (?, ?, ?, ?)
