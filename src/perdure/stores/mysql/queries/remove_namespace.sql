-- A namespace is forgotten.
DELETE FROM namespaces WHERE name = %s
