-- A checksum beside everything that is kept as bytes (stores/sqlite/checksums.py), of what is there already too.
ALTER TABLE executions ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;  -- of the snapshot
UPDATE executions SET checksum = perdure_checksum(snapshot, id);

ALTER TABLE history ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE history SET checksum = perdure_checksum(data, execution_id * 31 + first_event_id);

ALTER TABLE state_parts ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE state_parts SET checksum = perdure_checksum(data, execution_id * 31 + event_id);

ALTER TABLE messages ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET checksum = perdure_checksum(data, position);

ALTER TABLE records ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE records SET checksum = perdure_checksum(data, version);

-- One row: which store this is, and how often something other than an execution was changed (stores/sqlite/mark.py).
CREATE TABLE perdure_store (
    id      INTEGER PRIMARY KEY,
    lineage TEXT    NOT NULL,  -- a copy that goes its own way has another one
    changes INTEGER NOT NULL   -- transactions without commits of executions, ascending
) STRICT;

INSERT INTO perdure_store VALUES (1, lower(hex(randomblob(16))), 0);
