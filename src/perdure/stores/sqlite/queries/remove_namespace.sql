-- A namespace goes.
DELETE FROM namespaces WHERE name = ?
