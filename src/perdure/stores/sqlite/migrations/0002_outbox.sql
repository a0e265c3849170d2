-- What workflows send one another and what was not delivered yet: rows of the sender's commits.
CREATE TABLE messages (
    position INTEGER PRIMARY KEY,  -- given out by the store, ascending
    id       TEXT    NOT NULL,     -- the sender's run, event and purpose
    data     BLOB    NOT NULL
) STRICT;

-- Names a row to remove.
CREATE UNIQUE INDEX messages_key ON messages (id);
