-- The newest runs of workflow ids, which stay so to the end of the transaction.
SELECT partition_id, workflow_hash, run_id, execution_id FROM current_runs WHERE (partition_id, workflow_hash) IN (%s)
ORDER BY partition_id, workflow_hash FOR UPDATE
