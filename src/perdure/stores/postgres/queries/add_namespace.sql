-- A namespace is made, if there is none of its name.
INSERT INTO namespaces (name, id, retention_ns, description, details) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO NOTHING
