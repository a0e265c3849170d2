-- A new namespace, unless somebody else was first.
INSERT INTO namespaces (name, id, retention_ns, description, details) VALUES (%s, %s, %s, %s, %s)
