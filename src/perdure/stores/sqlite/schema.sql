-- The tables of a perdure store on SQLite, as of the newest migration.
--
-- Every table that grows with use is an ordinary rowid table with an integer key given out in order
-- of creation. So the rows of executions that are alive now stand together, a batch of a hundred
-- commits touches tens of pages instead of hundreds, and index entries are a dozen bytes. (Measured:
-- 14 µs a commit; 30 µs with history clustered by execution. docs/adr/0002-sqlite-writer.md)
--
-- Times are nanoseconds since the epoch. What is kept as bytes has a checksum beside it (stores/sqlite/checksums.py).

-- One row for each run of each workflow: the snapshot, and the columns that are searched by.
CREATE TABLE executions (
    id             INTEGER PRIMARY KEY,  -- given out by the store, ascending
    namespace      TEXT    NOT NULL,
    workflow_id    TEXT    NOT NULL,
    run_id         TEXT    NOT NULL,
    version        INTEGER NOT NULL,     -- what the compare-and-set compares
    status         INTEGER NOT NULL,     -- temporal.api.enums.v1.WorkflowExecutionStatus
    in_flight      INTEGER NOT NULL,     -- 1: open, and a worker holds a task of it
    history_length INTEGER NOT NULL,
    wake_at_ns     INTEGER,              -- the stored deadline; null: none is owed
    started_at_ns  INTEGER NOT NULL,
    closed_at_ns   INTEGER,
    workflow_type  TEXT    NOT NULL,
    task_queue     TEXT    NOT NULL,
    snapshot       BLOB    NOT NULL,     -- late, so that what is searched by fits before an overflow page
    history_bytes  INTEGER,              -- how large the history was when the run closed
    checksum       INTEGER NOT NULL DEFAULT 0  -- of the snapshot
) STRICT;

-- What of a state is large and seldom changes, beside the snapshot, which is written with every commit.
CREATE TABLE state_parts (
    execution_id INTEGER NOT NULL,
    event_id     INTEGER NOT NULL,   -- 1: what the run began with; an activity's Scheduled event: heartbeat details
    data         BLOB    NOT NULL,
    checksum     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Names a part.
CREATE UNIQUE INDEX state_parts_key ON state_parts (execution_id, event_id);

-- Names a run; gives lists their order.
CREATE UNIQUE INDEX executions_key ON executions (namespace, workflow_id, run_id);
-- The next deadline, and what is due.
CREATE INDEX executions_wake ON executions (wake_at_ns) WHERE wake_at_ns IS NOT NULL;
-- What the workers of a process that died held.
CREATE INDEX executions_in_flight ON executions (in_flight) WHERE in_flight = 1;
-- Lists and counts: by status, the newest first, and by type without reading the rows.
CREATE INDEX executions_visibility ON executions (namespace, status, closed_at_ns, started_at_ns, workflow_type);

-- The newest run of each workflow id: what a new run is compared with.
CREATE TABLE current_runs (
    namespace    TEXT    NOT NULL,
    workflow_id  TEXT    NOT NULL,
    execution_id INTEGER NOT NULL,
    PRIMARY KEY (namespace, workflow_id)
) STRICT, WITHOUT ROWID;

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

-- The events of one commit as one serialised temporal.api.history.v1.History. Append only.
CREATE TABLE history (
    execution_id   INTEGER NOT NULL,
    first_event_id INTEGER NOT NULL,
    data           BLOB    NOT NULL,
    checksum       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX history_key ON history (execution_id, first_event_id);

-- The durable queue: hints that a workflow or activity task wants a worker.
CREATE TABLE tasks (
    position           INTEGER PRIMARY KEY,  -- given out by the store, ascending
    namespace          TEXT    NOT NULL,
    queue              TEXT    NOT NULL,
    kind               INTEGER NOT NULL,     -- 1 workflow, 2 activity
    execution_id       INTEGER NOT NULL,
    scheduled_event_id INTEGER NOT NULL,
    stamp              INTEGER NOT NULL,     -- the attempt that the row was written for
    priority           INTEGER NOT NULL
) STRICT;

-- A queue in order of position (the rowid is the last column of every index).
CREATE INDEX tasks_queue ON tasks (namespace, queue, kind);
-- Names a row to remove or replace.
CREATE UNIQUE INDEX tasks_key ON tasks (execution_id, scheduled_event_id, kind);

-- What workflows send one another and what was not delivered yet: rows of the sender's commits.
CREATE TABLE messages (
    position INTEGER PRIMARY KEY,  -- given out by the store, ascending
    id       TEXT    NOT NULL,     -- the sender's run, event and purpose
    data     BLOB    NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Names a row to remove.
CREATE UNIQUE INDEX messages_key ON messages (id);

-- What is kept and is no execution: schedules, endpoints, batch operations. Their owners say what is in them.
CREATE TABLE records (
    kind       TEXT    NOT NULL,
    namespace  TEXT    NOT NULL,     -- empty: of no namespace
    name       TEXT    NOT NULL,
    version    INTEGER NOT NULL,     -- what the compare-and-set compares
    wake_at_ns INTEGER,              -- when its owner looks at it again; null: never
    data       BLOB    NOT NULL,
    checksum   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Names a record; gives pages their order.
CREATE UNIQUE INDEX records_key ON records (kind, namespace, name);
-- The next record to look at, and what is due.
CREATE INDEX records_wake ON records (wake_at_ns) WHERE wake_at_ns IS NOT NULL;

CREATE TABLE namespaces (
    name         TEXT    PRIMARY KEY,
    id           TEXT    NOT NULL,
    retention_ns INTEGER NOT NULL,  -- how long closed executions are kept
    description  TEXT    NOT NULL,
    details      BLOB    NOT NULL   -- state, owner, search attributes, ...: as the store encodes them
) STRICT, WITHOUT ROWID;

-- One row: which store this is, and how often something other than an execution was changed (stores/sqlite/mark.py).
CREATE TABLE perdure_store (
    id      INTEGER PRIMARY KEY,
    lineage TEXT    NOT NULL,  -- a copy that goes its own way has another one
    changes INTEGER NOT NULL   -- transactions without commits of executions, ascending
) STRICT;

INSERT INTO perdure_store VALUES (1, lower(hex(randomblob(16))), 0);
