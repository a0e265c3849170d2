-- Every execution, to check it: its state, then what stands beside it.
SELECT id, workflow_id, run_id, snapshot, checksum, namespace, version, status, in_flight, history_length,
    wake_at_ns, started_at_ns, closed_at_ns, workflow_type, task_queue, history_bytes
FROM executions
