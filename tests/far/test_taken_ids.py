"""A workflow id is an idempotency key: the same request again is the same run, another request is refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from perdure import Engine, WorkflowAlreadyStartedError, workflow


@workflow
def doubles(number: int, word: str = "twice") -> int:
    return 2 * number


@workflow
def waits(number: int) -> int:
    workflow.wait_signal("go")
    return number


@workflow
def counts_down(number: int) -> int:
    workflow.wait_signal("go")
    if number:
        workflow.continue_as_new(number - 1)
    return number


@workflow
def another(number: int) -> int:
    return number


@pytest.fixture(params=["memory", "temporal", "perdure"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """In this process, and on each server."""
    where = "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")
    code = [doubles, waits, counts_down, another]
    with Engine(where, task_queue=str(uuid.uuid4()), workflows=code, activities=[]) as engine:
        yield engine


def test_a_closed_run_is_attached_to_by_the_same_request_alone(engine: Engine) -> None:
    key = str(uuid.uuid4())
    assert [engine.run(doubles, 1, id=key) for _ in range(3)] == [2, 2, 2]
    assert engine.run(doubles, 1, "twice", id=key) == 2
    with pytest.raises(WorkflowAlreadyStartedError, match="other arguments: number is 1 there and 21 here"):
        engine.run(doubles, 21, id=key)
    with pytest.raises(WorkflowAlreadyStartedError, match="of type 'doubles', not 'another'"):
        engine.run(another, 1, id=key)
    assert engine.run(doubles, 21, id=key, id_reuse_policy="allow_duplicate") == 42


def test_so_is_an_open_one(engine: Engine) -> None:
    key = str(uuid.uuid4())
    first = engine.start(waits, 1, id=key)
    assert engine.start(waits, 1, id=key).run_id == first.run_id
    with pytest.raises(WorkflowAlreadyStartedError, match="number is 1 there and 2 here"):
        engine.start(waits, 2, id=key)
    with pytest.raises(WorkflowAlreadyStartedError, match="of type 'waits'"):
        engine.start(another, 1, id=key)
    assert engine.start(waits, 2, id=key, id_conflict_policy="use_existing").run_id == first.run_id
    first.signal("go")
    assert engine.run(waits, 1, id=key) == 1


def test_a_run_that_goes_on_as_another_is_what_it_began_as(engine: Engine) -> None:
    key = str(uuid.uuid4())
    handle = engine.start(counts_down, 1, id=key)
    engine.get(key).signal("go")
    engine.get(key).signal("go")
    assert handle.result() == 0
    assert engine.run(counts_down, 1, id=key) == 0
    with pytest.raises(WorkflowAlreadyStartedError, match="number is 1 there and 0 here"):
        engine.run(counts_down, 0, id=key)
