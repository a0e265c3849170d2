-- A namespace is another one now.
UPDATE namespaces SET id = $2, retention_ns = $3, description = $4, details = $5 WHERE name = $1
