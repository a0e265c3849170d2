-- What is kept beside a snapshot goes.
DELETE FROM state_parts WHERE execution_id = ? AND event_id = ?
