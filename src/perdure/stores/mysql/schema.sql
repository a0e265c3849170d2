-- The tables of a perdure store on MySQL and MariaDB, as of the newest migration.
--
-- Every key begins with the partition: a fixed hash of namespace and workflow id, 0 to 4095 (stores/partitions.py).
-- What is rewritten with every commit (`states`) has no index beside its key; what is searched by is in tables that are
-- written only when it changes.
--
-- Text is VARBINARY, the bytes of UTF-8: the two databases have no collation in common that compares them as they are.
-- Names that may be long are found by a hash of them, which every index has room for.
--
-- Times are nanoseconds since the epoch. What is kept as bytes has a checksum beside it (stores/checksums.py).
-- A database without transactions around DDL may stop between any two statements here, and begin again at the first.

-- Numbers of executions, handed out to engines by the block (writer.py).
CREATE TABLE IF NOT EXISTS counters (
    name  VARBINARY(64) NOT NULL PRIMARY KEY,
    value BIGINT        NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO counters VALUES ('executions', 0);

-- One row for each connection that commits: how far it has come, and its fence (lane.py).
CREATE TABLE IF NOT EXISTS writers (
    id            BIGINT NOT NULL PRIMARY KEY,
    epoch         BIGINT NOT NULL,     -- raised by whoever wants what was sent before to fail
    last_group    BIGINT NOT NULL,     -- the newest transaction that was applied
    last_position BIGINT NOT NULL,     -- and its position; microseconds, about
    applied       MEDIUMBLOB NOT NULL  -- which of its commits were, a bit for each
) ENGINE = InnoDB;

-- One row for each run of each workflow: what names it, and what lists search by. Written at its start, when its status
-- changes and when it closes: `version` and the sizes are of then.
CREATE TABLE IF NOT EXISTS executions (
    partition_id   SMALLINT UNSIGNED NOT NULL,
    id             BIGINT          NOT NULL,  -- never given out twice; of one engine ascending
    key_hash       BINARY(16)      NOT NULL,  -- of namespace, workflow id and run id
    version        BIGINT          NOT NULL,
    started_at_ns  BIGINT          NOT NULL,
    closed_at_ns   BIGINT,
    history_bytes  BIGINT,                    -- how large the history was when the run closed
    history_length INT             NOT NULL,
    status         TINYINT         NOT NULL,  -- temporal.api.enums.v1.WorkflowExecutionStatus
    namespace      VARBINARY(1050) NOT NULL,
    workflow_id    VARBINARY(8000) NOT NULL,
    run_id         VARBINARY(8000) NOT NULL,
    workflow_type  VARBINARY(8000) NOT NULL,
    task_queue     VARBINARY(8000) NOT NULL,
    PRIMARY KEY (partition_id, id),
    -- Names a run.
    UNIQUE KEY executions_hash (partition_id, key_hash),
    -- Lists and counts: by status, the newest first.
    KEY executions_visibility (namespace, status, closed_at_ns, started_at_ns, id, partition_id),
    -- Lists by workflow id, whatever its partition.
    KEY executions_key (namespace(255), workflow_id(255))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The state of a run, rewritten by each of its commits.
CREATE TABLE IF NOT EXISTS states (
    partition_id   SMALLINT UNSIGNED NOT NULL,
    execution_id   BIGINT       NOT NULL,
    version        BIGINT       NOT NULL,  -- what the compare-and-set compares
    history_length INT          NOT NULL,
    checksum       INT UNSIGNED NOT NULL,
    snapshot       LONGBLOB     NOT NULL,
    PRIMARY KEY (partition_id, execution_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What of a state is large and seldom changes.
CREATE TABLE IF NOT EXISTS state_parts (
    partition_id SMALLINT UNSIGNED NOT NULL,
    execution_id BIGINT       NOT NULL,
    event_id     INT          NOT NULL,  -- 1: what the run began with; an activity's Scheduled event: heartbeat details
    checksum     INT UNSIGNED NOT NULL,
    data         LONGBLOB     NOT NULL,
    PRIMARY KEY (partition_id, execution_id, event_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The newest run of each workflow id: what a new run is compared with.
CREATE TABLE IF NOT EXISTS current_runs (
    partition_id  SMALLINT UNSIGNED NOT NULL,
    workflow_hash BINARY(16)      NOT NULL,  -- of namespace and workflow id
    execution_id  BIGINT          NOT NULL,
    run_id        VARBINARY(8000) NOT NULL,
    PRIMARY KEY (partition_id, workflow_hash)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Stored deadlines, of executions that have one.
CREATE TABLE IF NOT EXISTS wakes (
    partition_id SMALLINT UNSIGNED NOT NULL,
    execution_id BIGINT NOT NULL,
    wake_at_ns   BIGINT NOT NULL,
    PRIMARY KEY (partition_id, execution_id),
    -- What is due: the earliest first, whatever its partition.
    KEY wakes_at (wake_at_ns, partition_id, execution_id)
) ENGINE = InnoDB;

-- Open executions of which a worker holds a task.
CREATE TABLE IF NOT EXISTS in_flight (
    partition_id SMALLINT UNSIGNED NOT NULL,
    execution_id BIGINT NOT NULL,
    PRIMARY KEY (partition_id, execution_id)
) ENGINE = InnoDB;

-- What an execution can be found by that not every execution has: search attributes of its own, its parent,
-- a start delay. A list has a row for each value, a text for each word. An ordinary execution has none.
CREATE TABLE IF NOT EXISTS search_attributes (
    partition_id SMALLINT UNSIGNED NOT NULL,
    execution_id BIGINT          NOT NULL,
    number       INT             NOT NULL,  -- among those of its execution
    type         TINYINT         NOT NULL,  -- temporal.api.enums.v1.IndexedValueType
    name         VARBINARY(8000) NOT NULL,
    value_int    BIGINT,                    -- times as nanoseconds, truth as 0 and 1
    value_double DOUBLE,
    value_text   MEDIUMBLOB,
    PRIMARY KEY (partition_id, execution_id, number),
    -- Executions by a value.
    KEY search_attributes_text (name(255), type, value_text(255)),
    KEY search_attributes_int (name(255), type, value_int),
    KEY search_attributes_double (name(255), type, value_double)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The events of one commit as one serialised temporal.api.history.v1.History. Append only.
CREATE TABLE IF NOT EXISTS history (
    partition_id   SMALLINT UNSIGNED NOT NULL,
    execution_id   BIGINT       NOT NULL,
    first_event_id INT          NOT NULL,
    checksum       INT UNSIGNED NOT NULL,
    data           LONGBLOB     NOT NULL,
    PRIMARY KEY (partition_id, execution_id, first_event_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The durable queue: hints that a workflow or activity task wants a worker. `position`, `number` say where it stands.
CREATE TABLE IF NOT EXISTS tasks (
    partition_id       SMALLINT UNSIGNED NOT NULL,
    execution_id       BIGINT          NOT NULL,
    scheduled_event_id INT             NOT NULL,
    kind               TINYINT         NOT NULL,  -- 1 workflow, 2 activity
    stamp              INT             NOT NULL,  -- the attempt that the row was written for
    position           BIGINT          NOT NULL,
    number             BIGINT          NOT NULL,
    queue_hash         BINARY(16)      NOT NULL,  -- of namespace, queue and kind
    namespace          VARBINARY(1050) NOT NULL,
    queue              VARBINARY(8000) NOT NULL,
    PRIMARY KEY (partition_id, execution_id, scheduled_event_id, kind),
    -- A queue in order of position.
    KEY tasks_queue (queue_hash, position, number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What workflows send one another and what was not delivered yet: rows of the sender's commits. The partition is of the
-- workflow that the message is for.
CREATE TABLE IF NOT EXISTS messages (
    id_hash      BINARY(16)      NOT NULL,
    partition_id SMALLINT UNSIGNED NOT NULL,
    position     BIGINT          NOT NULL,
    number       BIGINT          NOT NULL,
    checksum     INT UNSIGNED    NOT NULL,
    id           VARBINARY(8000) NOT NULL,  -- the sender's run, event and purpose
    data         LONGBLOB        NOT NULL,
    PRIMARY KEY (id_hash),
    -- Messages in order of position.
    KEY messages_position (position, number, partition_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What is kept and is no execution: schedules, endpoints, batch operations. Their owners say what is in them.
CREATE TABLE IF NOT EXISTS records (
    partition_id SMALLINT UNSIGNED NOT NULL,
    kind         VARBINARY(32)   NOT NULL,
    namespace    VARBINARY(1050) NOT NULL,  -- empty: of no namespace
    name         VARBINARY(1950) NOT NULL,
    version      BIGINT          NOT NULL,  -- what the compare-and-set compares
    wake_at_ns   BIGINT,                    -- when its owner looks at it again; null: never
    checksum     INT UNSIGNED    NOT NULL,
    data         LONGBLOB        NOT NULL,
    PRIMARY KEY (partition_id, kind, namespace, name),
    -- Pages of records.
    KEY records_page (kind, namespace, name),
    -- The next record to look at, and what is due.
    KEY records_wake (wake_at_ns, partition_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS namespaces (
    name         VARBINARY(1050) NOT NULL PRIMARY KEY,
    id           VARBINARY(1050) NOT NULL,
    retention_ns BIGINT          NOT NULL,  -- how long closed executions are kept
    description  MEDIUMBLOB      NOT NULL,
    details      LONGBLOB        NOT NULL   -- state, owner, search attributes, ...: as the store encodes them
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What one engine tells the others, durable no longer than they need to read it (notices.py).
CREATE TABLE IF NOT EXISTS notices (
    id      BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
    sent_at BIGINT        NOT NULL,  -- microseconds
    sender  BINARY(8)     NOT NULL,
    channel VARBINARY(64) NOT NULL,
    data    MEDIUMBLOB    NOT NULL,
    KEY notices_sent (sent_at)
) ENGINE = InnoDB;

-- One row: which schema this is. The last table, which says that the others are there.
CREATE TABLE IF NOT EXISTS perdure_store (
    id      TINYINT NOT NULL PRIMARY KEY,
    version INT     NOT NULL,  -- of the schema
    serves  INT     NOT NULL   -- the lowest schema whose perdure can still work on these tables
) ENGINE = InnoDB;
