-- What tells this database from every other one, whatever they are called.
SELECT c.system_identifier || '/' || d.oid
FROM pg_control_system() AS c, pg_database AS d
WHERE d.datname = current_database()
