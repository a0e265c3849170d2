-- Tables and indexes: whose an index is, bytes, rows on leaves, and rows on other pages (which are rows where rows are kept by
-- their key, and of other tables only signposts). Reads every page.
SELECT s.name, CASE m.type WHEN 'index' THEN m.tbl_name END, sum(s.pgsize),
    sum(CASE s.pagetype WHEN 'leaf' THEN s.ncell ELSE 0 END),
    sum(CASE s.pagetype WHEN 'internal' THEN s.ncell ELSE 0 END),
    coalesce(m.sql LIKE '%WITHOUT ROWID%', FALSE)
FROM dbstat AS s
LEFT JOIN sqlite_schema AS m ON m.name = s.name
GROUP BY s.name
