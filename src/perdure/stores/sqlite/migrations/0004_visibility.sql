ALTER TABLE executions ADD COLUMN history_bytes INTEGER;  -- how large the history was when the run closed

DROP INDEX executions_status;
-- Lists and counts: by status, the newest first, and by type without reading the rows.
CREATE INDEX executions_visibility ON executions (namespace, status, closed_at_ns, started_at_ns, workflow_type);

-- What an execution can be found by that not every execution has: search attributes of its own, its parent,
-- a start delay. A list has a row for each value, a text for each word. An ordinary execution has none.
CREATE TABLE search_attributes (
    execution_id INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    type         INTEGER NOT NULL,   -- temporal.api.enums.v1.IndexedValueType
    value        ANY     NOT NULL,   -- times as nanoseconds, truth as 0 and 1
    PRIMARY KEY (execution_id, name, type, value)
) STRICT, WITHOUT ROWID;

-- Executions by a value.
CREATE INDEX search_attributes_value ON search_attributes (name, type, value);

CREATE TABLE new_namespaces (
    name         TEXT    PRIMARY KEY,
    id           TEXT    NOT NULL,
    retention_ns INTEGER NOT NULL,  -- how long closed executions are kept
    description  TEXT    NOT NULL,
    details      BLOB    NOT NULL   -- state, owner, search attributes, ...: as the store encodes them
) STRICT, WITHOUT ROWID;

INSERT INTO new_namespaces
SELECT name, id, retention_days * 86400000000000, description, x'' FROM namespaces;

DROP TABLE namespaces;
ALTER TABLE new_namespaces RENAME TO namespaces;
