-- A run starts. The unique key makes a run that exists already fail the statement.
INSERT INTO executions (
    id, namespace, workflow_id, run_id, version, status, in_flight, history_length,
    wake_at_ns, started_at_ns, closed_at_ns, workflow_type, task_queue, snapshot, history_bytes, checksum
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
