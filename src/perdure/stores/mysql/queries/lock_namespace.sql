-- A namespace, which stays so to the end of the transaction.
SELECT name, id, retention_ns, description, details FROM namespaces WHERE name = %s FOR UPDATE
