-- All namespaces.
SELECT name, id, retention_ns, description, details FROM namespaces ORDER BY name
