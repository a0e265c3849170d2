-- Closed executions go, with all that is stored of them. If the newest run of a workflow id goes, the newest of the
-- others is its current one.
WITH gone AS (
    DELETE FROM executions AS e
    USING unnest($1::int2[], $2::text[], $3::text[], $4::text[]) AS d(p, n, w, r)
    WHERE e.partition_id = d.p AND e.namespace = d.n AND e.workflow_id = d.w AND e.run_id = d.r
      AND e.closed_at_ns IS NOT NULL
    RETURNING e.partition_id AS p, e.id AS i, e.namespace AS n, e.workflow_id AS w
), ids AS (
    SELECT array_agg(i) AS gone FROM gone
), led AS (
    SELECT g.p, g.i, g.n, g.w, (
        SELECT x.id FROM executions AS x
        WHERE x.partition_id = g.p AND x.namespace = g.n AND x.workflow_id = g.w
          AND x.id <> ALL (SELECT unnest(gone) FROM ids)
        ORDER BY x.started_at_ns DESC, x.id DESC LIMIT 1
    ) AS next
    FROM gone AS g JOIN current_runs AS c
      ON c.partition_id = g.p AND c.namespace = g.n AND c.workflow_id = g.w AND c.execution_id = g.i
), moved AS (
    UPDATE current_runs AS c SET execution_id = l.next FROM led AS l
    WHERE l.next IS NOT NULL AND c.partition_id = l.p AND c.namespace = l.n AND c.workflow_id = l.w
      AND c.execution_id = l.i
), freed AS (
    DELETE FROM current_runs AS c USING led AS l
    WHERE l.next IS NULL AND c.partition_id = l.p AND c.namespace = l.n AND c.workflow_id = l.w
      AND c.execution_id = l.i
), a AS (
    DELETE FROM states AS x USING gone AS g WHERE x.partition_id = g.p AND x.execution_id = g.i
), b AS (
    DELETE FROM state_parts AS x USING gone AS g WHERE x.partition_id = g.p AND x.execution_id = g.i
), c AS (
    DELETE FROM history AS x USING gone AS g WHERE x.partition_id = g.p AND x.execution_id = g.i
), d AS (
    DELETE FROM tasks AS x USING gone AS g WHERE x.partition_id = g.p AND x.execution_id = g.i
), e AS (
    DELETE FROM search_attributes AS x USING gone AS g WHERE x.partition_id = g.p AND x.execution_id = g.i
), f AS (
    DELETE FROM wakes AS x USING gone AS g WHERE x.partition_id = g.p AND x.execution_id = g.i
), h AS (
    DELETE FROM in_flight AS x USING gone AS g WHERE x.partition_id = g.p AND x.execution_id = g.i
)
SELECT count(*) FROM gone
