"""Executions that differ in all that a list filter can ask for, and filters that ask."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from perdure.core.commit import Commit
from perdure.core.message import Origin
from perdure.core.search_attributes import TYPE_NAMES
from tests.stores.given import START_NS, Run

CUSTOM = {"Text": 1, "Keyword": 2, "Int": 3, "Double": 4, "Bool": 5, "Datetime": 6, "List": 7, "odd 'name'": 2}
NAMESPACE = "shop"

TIMES = ["2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z", "2023-11-14T22:13:20.5Z"]
"""`START_NS` is the first of them."""
_WORDS = ["", "a", "ab", "Ab", "b", "ö", "it's"]
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Text": st.sampled_from(["a b", "Ab!", "b", "..."]),
    "Keyword": st.sampled_from(_WORDS),
    "Int": st.sampled_from([-3, 0, 5, 2**62]),
    "Double": st.sampled_from([-0.5, 0.1, 0.30000000000000004, 5.0]),
    "Bool": st.booleans(),
    "Datetime": st.sampled_from(TIMES),
    "List": st.lists(st.sampled_from(["a", "b", "Ab"]), min_size=1, max_size=3),
    "odd 'name'": st.sampled_from(_WORDS),
}


def payload(value: Any, type: int) -> bytes:
    """A value as an execution keeps it."""
    metadata = {"encoding": b"json/plain", "type": TYPE_NAMES[type].encode()}
    return Payload(metadata=metadata, data=json.dumps(value).encode()).SerializeToString()


attributes = st.fixed_dictionaries({}, optional=_VALUES).map(
    lambda values: {name: payload(value, CUSTOM[name]) for name, value in values.items()}
)

plans = st.fixed_dictionaries(
    {
        "workflow_id": st.sampled_from(["order-1", "order-2", "Order", "payment"]),
        "type": st.sampled_from(["Order", "Payment"]),
        "queue": st.sampled_from(["q", "r"]),
        "started": st.integers(0, 2),
        "backoff": st.sampled_from([0, 0, 10**9]),
        "status": st.sampled_from([1, 1, 8, 2, 3, 5, 7]),
        "closed": st.integers(0, 2),
        "events": st.integers(1, 3),
        "parent": st.none() | st.sampled_from(["order-1", "payment"]),
        "attributes": st.just({}) | attributes,
        "upserted": st.none() | attributes,
    }
)
"""What one execution will be like, once its commits are stored."""


def commits(number: int, plan: dict[str, Any], current: str | None) -> list[Commit]:
    """The commits of one run: it starts, it upserts, it closes."""
    run = Run(plan["workflow_id"], f"run-{number:03}", NAMESPACE, plan["type"])
    execution = run.execution
    execution.task_queue = plan["queue"]
    execution.started_at_ns = START_NS + plan["started"] * 500_000_000
    execution.first_task_backoff_ns = plan["backoff"]
    execution.search_attributes = dict(plan["attributes"])
    if plan["parent"]:
        execution.parent = Origin(NAMESPACE, plan["parent"], "run-p", 5)
        execution.root_workflow_id, execution.root_run_id = "root", "run-r"
    made = [_copied(run.commit(events=plan["events"], after=current))]
    if plan["upserted"] is not None:
        execution.search_attributes = dict(plan["upserted"])
        commit = run.commit(events=1)
        commit.index_changed = True
        made.append(_copied(commit))
    if plan["status"] != 1:
        execution.status = plan["status"]
        execution.history_bytes = 100 * plan["events"]
        if plan["status"] != 8:
            execution.closed_at_ns = execution.started_at_ns + plan["closed"] * 10**9
        made.append(_copied(run.commit(events=1)))
    return made


def _copied(commit: Commit) -> Commit:
    from perdure.core.execution import decode, encode

    assert commit.execution is not None
    commit.execution = decode(encode(commit.execution))
    return commit


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


_ORDERED = {
    "Keyword": _WORDS,
    "`odd 'name'`": _WORDS,
    "Int": [-3, 0, 4.5, 5, 2**62],
    "Double": [-0.5, 0.1, 0.3, 0.30000000000000004, 5],
    "Datetime": TIMES,
    "WorkflowId": ["order-1", "order", "Order", "x"],
    "RunId": ["run-001", "run-003"],
    "WorkflowType": ["Order", "Payment", "P"],
    "TaskQueue": ["q", "r"],
    "StartTime": TIMES,
    "ExecutionTime": TIMES,
    "CloseTime": TIMES,
    "ExecutionDuration": ["0s", "1s", 10**9],
    "HistoryLength": [2, 3],
    "HistorySizeBytes": [100, 200.5],
    "StateTransitionCount": [2, 3],
    "ParentWorkflowId": ["order-1", "x"],
    "ParentRunId": ["run-p"],
    "RootWorkflowId": ["root", "order-1"],
    "RootRunId": ["run-r", "run-001"],
}
_STATUSES = ["Running", "Completed", "Paused", "TimedOut", "ContinuedAsNew"]
_KEYWORDS = ("Keyword", "`odd 'name'`", "WorkflowId", "RunId", "WorkflowType", "TaskQueue", "ParentWorkflowId")


@st.composite
def conditions(draw: st.DrawFn) -> str:
    """One condition, of any attribute."""
    name = draw(st.sampled_from([*_ORDERED, "ExecutionStatus", "Bool", "List", "Text", "BuildIds"]))
    null = draw(st.integers(0, 5))
    if null == 0:
        return f"{name} IS {draw(st.sampled_from(['', 'NOT ']))}NULL"
    if name == "Text":
        return f"{name} {draw(st.sampled_from(['=', '!=']))} {draw(st.sampled_from(_TEXTS))}"
    choices = _ORDERED.get(name) or {"ExecutionStatus": _STATUSES, "Bool": [True, False]}.get(name, ["a", "Ab", "x"])
    values = [_literal(draw(st.sampled_from(choices))) for _ in range(2)]
    operators = ["=", "!=", "IN", "NOT IN"]
    if name not in ("List", "BuildIds"):
        operators += ["<", "<=", ">", ">="]
    if name in _ORDERED or name == "ExecutionStatus":
        operators += ["BETWEEN", "NOT BETWEEN"]
    if name in _KEYWORDS:
        operators += ["STARTS_WITH", "NOT STARTS_WITH"]
    operator = draw(st.sampled_from(operators))
    if operator.endswith("IN"):
        return f"{name} {operator} ({', '.join(values)})"
    return f"{name} {operator} {' AND '.join(values) if operator.endswith('BETWEEN') else values[0]}"


_TEXTS = ["'a'", "'B a'", "'...'", "'x'"]

filters = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT {}".format, inner),
        st.builds("{} AND {}".format, inner, inner),
    ),
    max_leaves=5,
)

orders = st.lists(
    st.tuples(st.sampled_from([*_ORDERED, "Bool", "ExecutionStatus"]), st.sampled_from(["", " ASC", " DESC"])),
    max_size=2,
).map(lambda terms: "ORDER BY " + ", ".join(name + way for name, way in terms) if terms else "")

queries = st.builds("{} {}".format, st.just("") | filters, orders)
