-- The states of some lines of a list.
SELECT execution_id, checksum, snapshot FROM states WHERE (partition_id, execution_id) IN (%s)
