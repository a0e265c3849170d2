"""The one statement that writes a group of commits: what of it is needed, put together once and kept.

    WITH advanced AS (UPDATE states ... RETURNING place), claimed AS (INSERT INTO current_runs ...), ...   the gates
         passed AS (places), ok AS (their bits),
         history, deadlines, tasks, ...: rows whose commit's bit is set
         fence AS (UPDATE writers ... WHERE epoch = ...)
    SELECT passed, 1 / fence

It is one round trip and one transaction, and it is over when it is answered. Rows come as arrays, a parameter for each
column. Nothing depends on an order that PostgreSQL does not promise: what must come first is read by what comes later.
A fence that does not hold, and a chain of which only some gates were passed, end the transaction by an error of
arithmetic, for plain SQL has no other way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from perdure.core.search_attributes import IndexedType
from perdure.stores.postgres.texts import escape
from perdure.stores.sql.plan import Plan, Row

PLACE, PARTITION, NUMBER = ("o", "int4"), ("p", "int2"), ("i", "int8")
_OWN = (PLACE, PARTITION, NUMBER)
_HERE = "get_bit((SELECT bits FROM ok), d.o) = 1"
_TRANSACTION = "(SELECT pg_current_xact_id()::text::bigint)"

FENCED = "22012"
"""SQLSTATE when the fence does not hold: division by zero."""
TORN = "2201F"
"""SQLSTATE when a chain passed some of its gates: square root of a negative number."""


class _Part:
    """One kind of rows: columns with their types, and what is done with them; `{rows}` is `unnest(...) AS d`."""

    def __init__(self, sql: str, *columns: tuple[str, str]) -> None:
        self.sql = sql
        self.columns = columns


_GATES = {
    "advanced": _Part(
        """UPDATE states AS s
        SET version = s.version + 1, history_length = d.h, checksum = d.c, snapshot = d.data
        FROM {rows}
        WHERE s.partition_id = d.p AND s.execution_id = d.i AND s.version = d.v
        RETURNING d.o""",
        *_OWN,
        ("v", "int8"),
        ("h", "int4"),
        ("c", "crc"),
        ("data", "bytea"),
    ),
    "claimed": _Part(
        """INSERT INTO current_runs AS r (partition_id, namespace, workflow_id, execution_id)
        SELECT d.p, d.n, d.w, d.i FROM {rows}
        ON CONFLICT (partition_id, namespace, workflow_id) DO NOTHING
        RETURNING r.execution_id""",
        PLACE,
        PARTITION,
        ("n", "text"),
        ("w", "text"),
        NUMBER,
    ),
    "succeeded": _Part(
        """UPDATE current_runs AS r SET execution_id = d.i
        FROM {rows}, executions AS e
        WHERE r.partition_id = d.p AND r.namespace = d.n AND r.workflow_id = d.w
          AND e.partition_id = d.p AND e.id = r.execution_id AND e.run_id = d.r
        RETURNING d.o""",
        PLACE,
        PARTITION,
        ("n", "text"),
        ("w", "text"),
        ("r", "text"),
        NUMBER,
    ),
    "taken": _Part(
        """DELETE FROM records AS x USING {rows}
        WHERE x.partition_id = d.p AND x.kind = d.k AND x.namespace = d.n AND x.name = d.m AND x.version = d.v
        RETURNING d.o""",
        PLACE,
        PARTITION,
        ("k", "text"),
        ("n", "text"),
        ("m", "text"),
        ("v", "int8"),
    ),
}

_PARTS = {
    "started": _Part(
        f"""INSERT INTO executions (
            partition_id, id, version, status, started_at_ns, closed_at_ns, history_length, history_bytes,
            namespace, workflow_id, run_id, workflow_type, task_queue
        ) SELECT d.p, d.i, d.v, d.s, d.b, d.e, d.h, d.z, d.n, d.w, d.r, d.t, d.q FROM {{rows}} WHERE {_HERE}""",
        *_OWN,
        ("v", "int8"),
        ("s", "int2"),
        ("b", "int8"),
        ("e", "int8"),
        ("h", "int4"),
        ("z", "int8"),
        ("n", "text"),
        ("w", "text"),
        ("r", "text"),
        ("t", "text"),
        ("q", "text"),
    ),
    "states": _Part(
        f"""INSERT INTO states (partition_id, execution_id, version, history_length, checksum, snapshot)
        SELECT d.p, d.i, d.v, d.h, d.c, d.data FROM {{rows}} WHERE {_HERE}""",
        *_OWN,
        ("v", "int8"),
        ("h", "int4"),
        ("c", "crc"),
        ("data", "bytea"),
    ),
    "settled": _Part(
        f"""UPDATE executions AS e
        SET version = d.v, status = d.s, closed_at_ns = d.e, history_length = d.h, history_bytes = d.z
        FROM {{rows}} WHERE {_HERE} AND e.partition_id = d.p AND e.id = d.i""",
        *_OWN,
        ("v", "int8"),
        ("s", "int2"),
        ("e", "int8"),
        ("h", "int4"),
        ("z", "int8"),
    ),
    "batches": _Part(
        f"""INSERT INTO history (partition_id, execution_id, first_event_id, checksum, data)
        SELECT d.p, d.i, d.f, d.c, d.data FROM {{rows}} WHERE {_HERE}""",
        *_OWN,
        ("f", "int4"),
        ("c", "crc"),
        ("data", "bytea"),
    ),
    "wakes": _Part(
        f"""INSERT INTO wakes (partition_id, execution_id, wake_at_ns) SELECT d.p, d.i, d.at FROM {{rows}} WHERE {_HERE}
        ON CONFLICT (partition_id, execution_id) DO UPDATE SET wake_at_ns = excluded.wake_at_ns""",
        *_OWN,
        ("at", "int8"),
    ),
    "unwoken": _Part(
        f"DELETE FROM wakes AS x USING {{rows}} WHERE {_HERE} AND x.partition_id = d.p AND x.execution_id = d.i", *_OWN
    ),
    "held": _Part(
        f"""INSERT INTO in_flight (partition_id, execution_id) SELECT d.p, d.i FROM {{rows}} WHERE {_HERE}
        ON CONFLICT (partition_id, execution_id) DO NOTHING""",
        *_OWN,
    ),
    "freed": _Part(
        f"DELETE FROM in_flight AS x USING {{rows}} WHERE {_HERE} AND x.partition_id = d.p AND x.execution_id = d.i",
        *_OWN,
    ),
    "dropped_parts": _Part(
        f"""DELETE FROM state_parts AS x USING {{rows}}
        WHERE {_HERE} AND x.partition_id = d.p AND x.execution_id = d.i AND x.event_id = d.f""",
        *_OWN,
        ("f", "int4"),
    ),
    "put_parts": _Part(
        f"""INSERT INTO state_parts (partition_id, execution_id, event_id, checksum, data)
        SELECT d.p, d.i, d.f, d.c, d.data FROM {{rows}} WHERE {_HERE}
        ON CONFLICT (partition_id, execution_id, event_id) DO UPDATE
        SET checksum = excluded.checksum, data = excluded.data""",
        *_OWN,
        ("f", "int4"),
        ("c", "crc"),
        ("data", "bytea"),
    ),
    "unindexed": _Part(
        f"""DELETE FROM search_attributes AS x USING {{rows}}
        WHERE {_HERE} AND x.partition_id = d.p AND x.execution_id = d.i""",
        *_OWN,
    ),
    "indexed": _Part(
        f"""INSERT INTO search_attributes (
            partition_id, execution_id, name, type, value_text, value_int, value_double
        ) SELECT d.p, d.i, d.n, d.t, d.vt, d.vi, d.vd FROM {{rows}} WHERE {_HERE}""",
        *_OWN,
        ("n", "text"),
        ("t", "int2"),
        ("vt", "text"),
        ("vi", "int8"),
        ("vd", "float8"),
    ),
    "removed_tasks": _Part(
        f"""DELETE FROM tasks AS x USING {{rows}}
        WHERE {_HERE} AND x.partition_id = d.p AND x.execution_id = d.i AND x.scheduled_event_id = d.f
          AND x.kind = d.k""",
        *_OWN,
        ("f", "int4"),
        ("k", "int2"),
    ),
    "added_tasks": _Part(
        f"""INSERT INTO tasks (
            partition_id, execution_id, transaction, number, written_at, namespace, queue, kind, scheduled_event_id,
            stamp
        ) SELECT d.p, d.i, {_TRANSACTION}, d.at, now(), d.n, d.q, d.k, d.f, d.s FROM {{rows}} WHERE {_HERE}
        ON CONFLICT (partition_id, execution_id, scheduled_event_id, kind) DO UPDATE
        SET transaction = excluded.transaction, number = excluded.number, written_at = excluded.written_at,
            namespace = excluded.namespace, queue = excluded.queue, stamp = excluded.stamp""",
        *_OWN,
        ("at", "int8"),
        ("n", "text"),
        ("q", "text"),
        ("k", "int2"),
        ("f", "int4"),
        ("s", "int4"),
    ),
    "removed_messages": _Part(
        f"""DELETE FROM messages AS x USING {{rows}} WHERE {_HERE} AND x.id = d.m RETURNING 1""",
        PLACE,
        PARTITION,
        ("m", "text"),
    ),
    "added_messages": _Part(
        # Of one id the last that is applied: one statement cannot replace a row twice.
        f"""INSERT INTO messages (partition_id, transaction, number, written_at, id, checksum, data)
        SELECT DISTINCT ON (d.m, d.p) d.p, {_TRANSACTION}, d.at, now(), d.m, d.c, d.data
        FROM {{rows}} WHERE {_HERE}{{after_removal}}
        ORDER BY d.m, d.p, d.at DESC
        ON CONFLICT (id, partition_id) DO UPDATE
        SET transaction = excluded.transaction, number = excluded.number, written_at = excluded.written_at,
            checksum = excluded.checksum, data = excluded.data""",
        PLACE,
        PARTITION,
        ("at", "int8"),
        ("m", "text"),
        ("c", "crc"),
        ("data", "bytea"),
    ),
}

_ALL = {**_GATES, **_PARTS}


def parts_of(plan: Plan) -> tuple[str, ...]:
    """The kinds of rows that a plan has, the gates first."""
    return tuple(name for name in _ALL if getattr(plan, name))


@cache
def statement(parts: tuple[str, ...], is_chained: bool) -> str:
    """The statement for these kinds of rows, with tables not named by their schema.

    Its parameters are those of `parameters`. `is_chained`: some commits have several gates.
    """
    number = 5
    claims = gates = 0
    if "claimed" in parts:
        claims, number = number, number + 2
    if is_chained:
        gates, number = number, number + 1
    steps: list[str] = []
    for name in parts:
        part = _ALL[name]
        types = [_TYPES.get(type, type) for _, type in part.columns]
        arrays = ", ".join(f"${number + place}::{type}[]" for place, type in enumerate(types))
        rows = f"unnest({arrays}) AS d({', '.join(column for column, _ in part.columns)})"
        number += len(types)
        after = " AND (SELECT count(*) FROM did_removed_messages) >= 0" if "removed_messages" in parts else ""
        steps.append(f"did_{name} AS ({part.sql.replace('{rows}', rows).replace('{after_removal}', after)})")
    passes = [f"SELECT o FROM did_{name}" for name in ("advanced", "succeeded", "taken") if name in parts]
    if claims:
        place = f"(${claims + 1}::int4[])[(c.execution_id - ${claims}::int8 + 1)::int4]"
        passes.append(f"SELECT {place} AS o FROM did_claimed AS c")
    passed = f"passed AS ({' UNION ALL '.join(passes)})"
    bits = "ok AS (SELECT bit_or(set_bit(repeat('0', $4)::bit varying, o, 1)) AS bits FROM passed)"
    gate_count = sum(name in _GATES for name in parts)
    fence = (
        "fence AS (UPDATE writers SET last_group = $3, applied = (SELECT bits FROM ok), touched_at = now() "
        "WHERE id = $1 AND epoch = $2 RETURNING 1)"
    )
    ctes = [*steps[:gate_count], passed, bits, *steps[gate_count:], fence]
    torn = ""
    if gates:
        ctes.append(
            f"torn AS (SELECT o FROM passed GROUP BY o HAVING count(*) <> (${gates}::int4[])[o + 1])",
        )
        torn = ", sqrt(-(SELECT count(*) FROM torn)::float8) AS whole"
    return (
        f"WITH {', '.join(ctes)} "
        f"SELECT ARRAY(SELECT o FROM passed) AS passed, 1 / (SELECT count(*)::int4 FROM fence) AS fenced{torn}"
    )


def parameters(plan: Plan, parts: tuple[str, ...], is_chained: bool) -> list[Any]:
    """What stands in the statement from its fourth parameter on."""
    values: list[Any] = [len(plan.gates)]
    if plan.claimed:
        first = min(row[-1] for row in plan.claimed)
        places = [-1] * (max(row[-1] for row in plan.claimed) - first + 1)
        for row in plan.claimed:
            places[row[-1] - first] = row[0]
        values += (first, places)
    if is_chained:
        values.append(plan.gates)
    for name in parts:
        rows: Sequence[Row] = getattr(plan, name)
        if name in _GATES:  # always in the same order, so that no two engines wait for each other's rows
            rows = sorted(rows, key=_key)
        if name == "indexed":
            rows = [(*row[:5], *_by_type(row[4], row[5])) for row in rows]
        values += columns(rows, (type for _, type in _ALL[name].columns))
    return values


def _key(row: Row) -> Row:
    """What a row is found by, at least the beginning of it."""
    return row[1:4]


def columns(rows: Sequence[Row], types: Iterable[str]) -> list[Sequence[Any]]:
    """Rows as an array for each column."""
    return [
        _CONVERT[type](column) if type in _CONVERT else column
        for column, type in zip(zip(*rows, strict=True), types, strict=True)
    ]


def _by_type(type: int, value: Any) -> tuple[str | None, int | None, float | None]:
    """The columns of a value of a search attribute, one for each kind."""
    if type == IndexedType.DOUBLE:
        return None, None, float(value)
    if type in _TEXTUAL:
        return str(value), None, None
    return None, int(value), None


_TEXTUAL = (IndexedType.TEXT, IndexedType.KEYWORD, IndexedType.KEYWORD_LIST)
_TYPES = {"crc": "int4"}


def signed(checksum: int) -> int:
    """Thirty-two bits as PostgreSQL's `integer` has them."""
    return checksum - (1 << 32) if checksum >> 31 else checksum


def unsigned(number: int) -> int:
    """The checksum that `signed` was given."""
    return number & 0xFFFFFFFF


def _texts(column: Sequence[str | None]) -> Sequence[str | None]:
    return [text and escape(text) for text in column]


def _checksums(column: Sequence[int]) -> Sequence[int]:
    return [signed(checksum) for checksum in column]


_CONVERT: dict[str, Any] = {"text": _texts, "crc": _checksums}
