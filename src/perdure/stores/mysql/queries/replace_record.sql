-- A record's next version and the mark of the group that it is, in one statement: neither is written where the record has
-- another version than it should, or the lane another epoch.
UPDATE records AS r JOIN writers AS w
SET r.version = %s, r.wake_at_ns = %s, r.checksum = %s, r.data = %s, w.last_group = %s, w.applied = %s
WHERE r.partition_id = %s AND r.kind = %s AND r.namespace = %s AND r.name = %s AND r.version = %s
  AND w.id = %s AND w.epoch = %s
