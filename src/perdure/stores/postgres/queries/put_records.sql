-- Records are made, replaced or deleted, each if its version is the expected one; which of them by their places.
WITH d AS (
    SELECT * FROM unnest(
        $4::int4[], $5::int2[], $6::text[], $7::text[], $8::text[], $9::int8[], $10::int8[], $11::int4[], $12::bytea[]
    ) AS d(o, p, k, n, m, v, at, c, data)
), made AS (
    INSERT INTO records AS r (partition_id, kind, namespace, name, version, wake_at_ns, checksum, data)
    SELECT p, k, n, m, 1, at, c, data FROM d WHERE v = 0 AND data IS NOT NULL
    ON CONFLICT (partition_id, kind, namespace, name) DO NOTHING
    RETURNING r.partition_id AS p, r.kind AS k, r.namespace AS n, r.name AS m
), replaced AS (
    UPDATE records AS r SET version = r.version + 1, wake_at_ns = d.at, checksum = d.c, data = d.data
    FROM d
    WHERE d.v > 0 AND d.data IS NOT NULL
      AND r.partition_id = d.p AND r.kind = d.k AND r.namespace = d.n AND r.name = d.m AND r.version = d.v
    RETURNING d.o
), deleted AS (
    DELETE FROM records AS r USING d
    WHERE d.v > 0 AND d.data IS NULL
      AND r.partition_id = d.p AND r.kind = d.k AND r.namespace = d.n AND r.name = d.m AND r.version = d.v
    RETURNING d.o
), passed AS (
    SELECT d.o FROM made AS x JOIN d ON d.p = x.p AND d.k = x.k AND d.n = x.n AND d.m = x.m
    UNION ALL SELECT o FROM replaced
    UNION ALL SELECT o FROM deleted
    UNION ALL SELECT d.o FROM d WHERE d.v = 0 AND d.data IS NULL AND NOT EXISTS (
        SELECT FROM records AS r
        WHERE r.partition_id = d.p AND r.kind = d.k AND r.namespace = d.n AND r.name = d.m
    )
), fence AS (
    UPDATE writers SET last_group = $3, touched_at = now(),
        applied = (SELECT bit_or(set_bit(repeat('0', cardinality($4))::bit varying, o, 1)) FROM passed)
    WHERE id = $1 AND epoch = $2
    RETURNING 1
)
SELECT ARRAY(SELECT o FROM passed) AS passed, 1 / (SELECT count(*)::int4 FROM fence) AS fenced
