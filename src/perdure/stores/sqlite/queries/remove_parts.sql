-- What is kept beside the snapshot of an execution goes with it.
DELETE FROM state_parts WHERE execution_id = ?
