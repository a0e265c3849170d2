-- A page of the records of a kind in all namespaces.
SELECT w.kind, w.namespace, w.name, w.version, w.wake_at_ns, w.checksum, w.data
FROM records AS w FORCE INDEX (records_page)
WHERE w.kind = %s AND w.namespace >= %s AND (w.namespace, w.name) > (%s, %s) AND %p
ORDER BY w.namespace, w.name
LIMIT %s
