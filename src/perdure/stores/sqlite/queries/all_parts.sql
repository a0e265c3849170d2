-- Everything that is kept beside snapshots, to check it.
SELECT execution_id, event_id, data, checksum FROM state_parts
