-- The snapshots of the lines of a list.
SELECT d.o::int4, s.checksum, s.snapshot
FROM unnest($1::int2[], $2::int8[]) WITH ORDINALITY AS d(p, i, o)
JOIN states AS s ON s.partition_id = d.p AND s.execution_id = d.i
