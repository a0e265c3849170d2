-- A record is made; hits nothing when there is one already.
INSERT INTO records (kind, namespace, name, version, wake_at_ns, data, checksum)
VALUES (?, ?, ?, 1, ?, ?, ?)
ON CONFLICT DO NOTHING
