-- One namespace.
SELECT name, id, retention_ns, description, details FROM namespaces WHERE name = ?
