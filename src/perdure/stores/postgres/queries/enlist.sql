-- A record that a program writes in a transaction of its own, on the database that the store is on and on no other; and
-- a notice of it. What the transaction is called.
WITH made AS (
    INSERT INTO records (partition_id, kind, namespace, name, version, wake_at_ns, checksum, data)
    SELECT $1::int2, $2::text, $3::text, $4::text, 1, $5::int8, $6::int4, $7::bytea
    WHERE $8::text = (
        SELECT c.system_identifier || '/' || d.oid
        FROM pg_control_system() AS c, pg_database AS d
        WHERE d.datname = current_database()
    )
    RETURNING 1
)
SELECT pg_current_xact_id()::text, pg_notify($9::text, $10::text) FROM made
