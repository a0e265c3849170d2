-- A page of the records of a kind in a namespace.
SELECT w.kind, w.namespace, w.name, w.version, w.wake_at_ns, w.checksum, w.data
FROM records AS w FORCE INDEX (records_page)
WHERE w.kind = %s AND w.namespace = %s AND w.name > %s AND %p
ORDER BY w.name
LIMIT %s
