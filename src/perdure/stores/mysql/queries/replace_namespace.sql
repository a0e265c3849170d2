-- A namespace takes the place of another version of it.
UPDATE namespaces SET id = %s, retention_ns = %s, description = %s, details = %s WHERE name = %s
