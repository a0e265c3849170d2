-- The tables and indexes of a schema: what an index is of, bytes, and rows as far as they are known without a count.
-- The parts of a partitioned table count as that.
SELECT coalesce(whole.relname, part.relname)::text AS name,
    coalesce(whole_table.relname, of_table.relname)::text AS of_table,
    sum(CASE WHEN part.relkind = 'i' THEN pg_relation_size(part.oid) ELSE pg_table_size(part.oid) END)::bigint AS bytes,
    sum(coalesce(nullif(pg_stat_get_live_tuples(part.oid), 0), greatest(part.reltuples, 0)))::bigint AS rows
FROM pg_class AS part
JOIN pg_namespace AS n ON n.oid = part.relnamespace
LEFT JOIN pg_inherits AS i ON i.inhrelid = part.oid
LEFT JOIN pg_class AS whole ON whole.oid = i.inhparent
LEFT JOIN pg_index AS x ON x.indexrelid = part.oid
LEFT JOIN pg_class AS of_table ON of_table.oid = x.indrelid
LEFT JOIN pg_inherits AS it ON it.inhrelid = of_table.oid
LEFT JOIN pg_class AS whole_table ON whole_table.oid = it.inhparent
WHERE n.nspname = $1 AND part.relkind IN ('r', 'i')
GROUP BY 1, 2
