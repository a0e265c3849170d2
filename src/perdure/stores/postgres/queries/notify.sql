-- Notices to whoever listens.
SELECT pg_notify($1, n) FROM unnest($2::text[]) AS d(n)
