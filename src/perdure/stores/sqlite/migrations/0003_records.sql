-- What is kept and is no execution: schedules, endpoints, batch operations. Their owners say what is in them.
CREATE TABLE records (
    kind       TEXT    NOT NULL,
    namespace  TEXT    NOT NULL,     -- empty: of no namespace
    name       TEXT    NOT NULL,
    version    INTEGER NOT NULL,     -- what the compare-and-set compares
    wake_at_ns INTEGER,              -- when its owner looks at it again; null: never
    data       BLOB    NOT NULL
) STRICT;

-- Names a record; gives pages their order.
CREATE UNIQUE INDEX records_key ON records (kind, namespace, name);
-- The next record to look at, and what is due.
CREATE INDEX records_wake ON records (wake_at_ns) WHERE wake_at_ns IS NOT NULL;
