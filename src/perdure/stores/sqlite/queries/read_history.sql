-- Batches in order, from the one that holds an event.
SELECT first_event_id, data, checksum
FROM history
WHERE execution_id = ?
  AND first_event_id >= (
      SELECT coalesce(max(first_event_id), 0) FROM history WHERE execution_id = ? AND first_event_id <= ?
  )
ORDER BY first_event_id
