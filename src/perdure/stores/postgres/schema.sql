-- The tables of a perdure store on PostgreSQL, as of the newest migration. They lie in a schema of their own, which the
-- store's URL names; the names here are completed when the statements are read.
--
-- Every key begins with the partition: a fixed hash of namespace and workflow id, 0 to 4095 (stores/partitions.py), so
-- that a database which shares tables out among machines can do it by that column, and a commit stays on one of them.
-- What is rewritten with every commit (`states`) has no index beside its key, so that a new version of a row finds its
-- place on the same page (HOT). What is searched by is in tables that are written only when it changes.
--
-- Times are nanoseconds since the epoch. What is kept as bytes has a checksum beside it (stores/checksums.py).

-- One row: which schema this is.
CREATE TABLE perdure_store (
    id         smallint PRIMARY KEY CHECK (id = 1),
    version    integer  NOT NULL,  -- of the schema
    serves     integer  NOT NULL   -- the lowest schema whose perdure can still work on these tables
);

-- Numbers of executions, handed out to engines by the block (store.py).
CREATE SEQUENCE execution_blocks;

-- One row for each connection that commits: how far it has come, and its fence (lane.py).
CREATE TABLE writers (
    id         bigint      PRIMARY KEY,
    epoch      bigint      NOT NULL,  -- raised by whoever wants statements of before to fail
    last_group bigint      NOT NULL,  -- the newest statement that was applied
    applied    bit varying,           -- which of its commits were
    touched_at timestamptz NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- One row for each run of each workflow: what names it, and what lists search by. Written at its start, when its status
-- changes and when it closes: `version` and the sizes are of then.
CREATE TABLE executions (
    id             bigint   NOT NULL,  -- never given out twice; of one engine ascending
    version        bigint   NOT NULL,
    started_at_ns  bigint   NOT NULL,
    closed_at_ns   bigint,
    history_bytes  bigint,             -- how large the history was when the run closed
    history_length integer  NOT NULL,
    partition_id   smallint NOT NULL,
    status         smallint NOT NULL,  -- temporal.api.enums.v1.WorkflowExecutionStatus
    namespace      text     COLLATE "C" NOT NULL,
    workflow_id    text     COLLATE "C" NOT NULL,
    run_id         text     COLLATE "C" NOT NULL,
    workflow_type  text     COLLATE "C" NOT NULL,
    task_queue     text     COLLATE "C" NOT NULL,
    PRIMARY KEY (partition_id, id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

-- Names a run.
CREATE UNIQUE INDEX executions_key ON executions (partition_id, namespace, workflow_id, run_id);
-- Lists and counts: by status, the newest first.
CREATE INDEX executions_visibility ON executions (namespace, status, closed_at_ns, started_at_ns, id, partition_id);
-- Lists by workflow id, whatever its partition.
CREATE INDEX executions_workflow_id ON executions (namespace, workflow_id);

-- The state of a run, rewritten by each of its commits.
CREATE TABLE states (
    execution_id   bigint   NOT NULL,
    version        bigint   NOT NULL,  -- what the compare-and-set compares
    history_length integer  NOT NULL,
    checksum       integer  NOT NULL,
    partition_id   smallint NOT NULL,
    snapshot       bytea    NOT NULL,
    PRIMARY KEY (partition_id, execution_id)
) WITH (
    fillfactor = 70, toast_tuple_target = 4080,
    autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_insert_scale_factor = 0.2
);
-- Packing what changes with every commit costs more than it saves.
ALTER TABLE states ALTER COLUMN snapshot SET STORAGE EXTERNAL;

-- What of a state is large and seldom changes.
CREATE TABLE state_parts (
    execution_id bigint   NOT NULL,
    event_id     integer  NOT NULL,  -- 1: what the run began with; an activity's Scheduled event: heartbeat details
    checksum     integer  NOT NULL,
    partition_id smallint NOT NULL,
    data         bytea    NOT NULL,
    PRIMARY KEY (partition_id, execution_id, event_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- The newest run of each workflow id: what a new run is compared with.
CREATE TABLE current_runs (
    execution_id bigint   NOT NULL,
    partition_id smallint NOT NULL,
    namespace    text     COLLATE "C" NOT NULL,
    workflow_id  text     COLLATE "C" NOT NULL,
    PRIMARY KEY (partition_id, namespace, workflow_id)
) WITH (fillfactor = 90);

-- Stored deadlines, of executions that have one.
CREATE TABLE wakes (
    execution_id bigint   NOT NULL,
    wake_at_ns   bigint   NOT NULL,
    partition_id smallint NOT NULL,
    PRIMARY KEY (partition_id, execution_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What is due: the earliest first, whatever its partition, and whose it is without a look at the table.
CREATE INDEX wakes_at ON wakes (wake_at_ns, partition_id);

-- Open executions of which a worker holds a task.
CREATE TABLE in_flight (
    execution_id bigint   NOT NULL,
    partition_id smallint NOT NULL,
    PRIMARY KEY (partition_id, execution_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What an execution can be found by that not every execution has: search attributes of its own, its parent,
-- a start delay. A list has a row for each value, a text for each word. An ordinary execution has none.
CREATE TABLE search_attributes (
    execution_id bigint   NOT NULL,
    value_int    bigint,             -- times as nanoseconds, truth as 0 and 1
    value_double double precision,
    partition_id smallint NOT NULL,
    type         smallint NOT NULL,  -- temporal.api.enums.v1.IndexedValueType
    name         text     COLLATE "C" NOT NULL,
    value_text   text     COLLATE "C"
);

CREATE INDEX search_attributes_key ON search_attributes (partition_id, execution_id, name, type);
-- Executions by a value.
CREATE INDEX search_attributes_text ON search_attributes (name, type, value_text) WHERE value_text IS NOT NULL;
CREATE INDEX search_attributes_int ON search_attributes (name, type, value_int) WHERE value_int IS NOT NULL;
CREATE INDEX search_attributes_double ON search_attributes (name, type, value_double) WHERE value_double IS NOT NULL;

-- The events of one commit as one serialised temporal.api.history.v1.History. Append only. In sixteen tables, so that
-- none of them, and no index, is larger than what can be vacuumed and built anew while work goes on.
CREATE TABLE history (
    execution_id   bigint   NOT NULL,
    first_event_id integer  NOT NULL,
    checksum       integer  NOT NULL,
    partition_id   smallint NOT NULL,
    data           bytea    NOT NULL,
    PRIMARY KEY (partition_id, execution_id, first_event_id)
) PARTITION BY HASH (partition_id);

CREATE TABLE history_0 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 0);
CREATE TABLE history_1 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 1);
CREATE TABLE history_2 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 2);
CREATE TABLE history_3 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 3);
CREATE TABLE history_4 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 4);
CREATE TABLE history_5 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 5);
CREATE TABLE history_6 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 6);
CREATE TABLE history_7 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 7);
CREATE TABLE history_8 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 8);
CREATE TABLE history_9 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 9);
CREATE TABLE history_10 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 10);
CREATE TABLE history_11 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 11);
CREATE TABLE history_12 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 12);
CREATE TABLE history_13 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 13);
CREATE TABLE history_14 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 14);
CREATE TABLE history_15 PARTITION OF history FOR VALUES WITH (MODULUS 16, REMAINDER 15);

-- The durable queue: hints that a workflow or activity task wants a worker. `transaction`, `number` are its position.
CREATE TABLE tasks (
    execution_id       bigint      NOT NULL,
    transaction        bigint      NOT NULL,
    number             bigint      NOT NULL,
    written_at         timestamptz NOT NULL,
    scheduled_event_id integer     NOT NULL,
    stamp              integer     NOT NULL,  -- the attempt that the row was written for
    partition_id       smallint    NOT NULL,
    kind               smallint    NOT NULL,  -- 1 workflow, 2 activity
    namespace          text        COLLATE "C" NOT NULL,
    queue              text        COLLATE "C" NOT NULL,
    PRIMARY KEY (partition_id, execution_id, scheduled_event_id, kind)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- A queue in order of position.
CREATE INDEX tasks_queue ON tasks (namespace, queue, kind, transaction, number);

-- What workflows send one another and what was not delivered yet: rows of the sender's commits. The partition is of the
-- workflow that the message is for.
CREATE TABLE messages (
    transaction  bigint      NOT NULL,
    number       bigint      NOT NULL,
    written_at   timestamptz NOT NULL,
    checksum     integer     NOT NULL,
    partition_id smallint    NOT NULL,
    id           text        COLLATE "C" NOT NULL,  -- the sender's run, event and purpose
    data         bytea       NOT NULL,
    PRIMARY KEY (id, partition_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Messages in order of position.
CREATE INDEX messages_position ON messages (transaction, number, partition_id);

-- What is kept and is no execution: schedules, endpoints, batch operations. Their owners say what is in them.
CREATE TABLE records (
    version      bigint   NOT NULL,  -- what the compare-and-set compares
    wake_at_ns   bigint,             -- when its owner looks at it again; null: never
    checksum     integer  NOT NULL,
    partition_id smallint NOT NULL,
    kind         text     COLLATE "C" NOT NULL,
    namespace    text     COLLATE "C" NOT NULL,  -- empty: of no namespace
    name         text     COLLATE "C" NOT NULL,
    data         bytea    NOT NULL,
    PRIMARY KEY (partition_id, kind, namespace, name)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

-- Pages of records.
CREATE INDEX records_page ON records (kind, namespace, name);
-- The next record to look at, and what is due.
CREATE INDEX records_wake ON records (wake_at_ns, partition_id) WHERE wake_at_ns IS NOT NULL;

CREATE TABLE namespaces (
    name         text   COLLATE "C" PRIMARY KEY,
    id           text   NOT NULL,
    retention_ns bigint NOT NULL,  -- how long closed executions are kept
    description  text   NOT NULL,
    details      bytea  NOT NULL   -- state, owner, search attributes, ...: as the store encodes them
);
