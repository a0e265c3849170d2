-- All namespaces, by name.
SELECT name, id, retention_days, description FROM namespaces ORDER BY name
