-- One namespace, kept as it is until the end of the transaction.
SELECT name, id, retention_ns, description, details FROM namespaces WHERE name = $1 FOR UPDATE
