-- What is kept beside the snapshot of an execution.
SELECT event_id, data, checksum FROM state_parts WHERE execution_id = ?
