-- What of a state is large and seldom changes, beside the snapshot, which is written with every commit. What snapshots hold
-- of it today is moved here when they are next written.
CREATE TABLE state_parts (
    execution_id INTEGER NOT NULL,
    event_id     INTEGER NOT NULL,   -- 1: what the run began with; an activity's Scheduled event: heartbeat details
    data         BLOB    NOT NULL
) STRICT;

-- Names a part.
CREATE UNIQUE INDEX state_parts_key ON state_parts (execution_id, event_id);
