-- A record is made; hits nothing when there is one already.
INSERT INTO records (kind, namespace, name, version, wake_at_ns, data)
VALUES (?1, ?2, ?3, 1, ?5, ?6)
ON CONFLICT DO NOTHING
