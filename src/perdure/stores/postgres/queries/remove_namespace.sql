-- A namespace goes, and its records with it.
WITH r AS (DELETE FROM records WHERE namespace = $1)
DELETE FROM namespaces WHERE name = $1
