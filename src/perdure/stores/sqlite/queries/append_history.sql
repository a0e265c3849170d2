-- The events of one commit.
INSERT INTO history (execution_id, first_event_id, data, checksum) VALUES (?, ?, ?, ?)
