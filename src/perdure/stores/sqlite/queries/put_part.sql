-- What is kept beside a snapshot changes.
INSERT OR REPLACE INTO state_parts (execution_id, event_id, data, checksum) VALUES (?, ?, ?, ?)
