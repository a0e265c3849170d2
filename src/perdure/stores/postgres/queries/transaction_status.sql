-- How a transaction stands: in progress, committed, aborted; null when it ended so long ago that nobody remembers.
SELECT pg_xact_status($1::text::xid8)
