-- The newest notice.
SELECT coalesce(max(id), 0) FROM notices
