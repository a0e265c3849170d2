"""Workflows that want too much at once: of the engine, or of the thread that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perdure import Engine, WorkerConfig, WorkflowDescription, WorkflowStatus, activity, start, workflow
from perdure.embedded import EngineSeams, seamed
from tests.badinput.ordinary import opened, ordinary, ordinary_step, others_go_on

AT_ONCE = 100_000
LIMIT = 2_000


@activity
async def small(number: int) -> int:
    return number


def too_wide() -> Any:
    """Starts everything at once."""

    @workflow
    def wide(width: int) -> int:
        return sum(handle.result() for handle in [start(small, number) for number in range(width)])

    return wide


def in_portions() -> Any:
    """The same, mended."""

    @workflow
    def wide(width: int) -> int:
        total = 0
        for first in range(0, width, 100):
            handles = [start(small, number) for number in range(first, min(first + 100, width))]
            total += sum(handle.result() for handle in handles)
        return total

    return wide


@workflow(guard=False)
def never_waits() -> None:
    while True:
        pass


def trouble(engine: Engine, id: str) -> WorkflowDescription:
    """The description of a run once a task of it has failed."""
    while True:
        description = engine.get(id).describe()
        if description.workflow_task_attempt > 1 or description.closed_at is not None:
            return description


def test_100_000_activities_at_once_are_refused_by_name_and_the_others_go_on(tmp_path: Path) -> None:
    with opened(tmp_path / "orders.db", too_wide(), activities=(small,)) as engine:
        greedy = engine.start(too_wide(), AT_ONCE, id="wide")
        others_go_on(engine)
        described = trouble(engine, "wide")
        assert described.status is WorkflowStatus.RUNNING
        assert "more than 10,000" in described.workflow_task_failure
        assert "start them in portions" in described.workflow_task_failure
        assert described.history_length < 20, "nothing of it was written"
        others_go_on(engine)
        greedy.terminate("too wide")
        assert greedy.describe().status is WorkflowStatus.TERMINATED


def test_more_than_the_server_takes_is_refused_by_its_limit(tmp_path: Path) -> None:
    # No watch on the thread: a busy machine may need more than its 2 s to make thousands of anything.
    seams = EngineSeams(worker_config=WorkerConfig(deadlock_timeout=0))
    with opened(tmp_path / "orders.db", too_wide(), activities=(small,), seams=seams) as engine:
        engine.start(too_wide(), LIMIT + 1, id="wide")
        failure = trouble(engine, "wide").workflow_task_failure
        assert "2,000" in failure or "2000" in failure


def test_what_was_refused_goes_on_with_mended_code(tmp_path: Path) -> None:
    with opened(tmp_path / "orders.db", too_wide(), activities=(small,)) as engine:
        engine.start(too_wide(), LIMIT + 1, id="wide")
        trouble(engine, "wide")
    with opened(tmp_path / "orders.db", in_portions(), activities=(small,)) as engine:
        assert engine.get("wide").result() == sum(range(LIMIT + 1))


def test_as_many_activities_as_are_allowed_run_at_once(tmp_path: Path) -> None:
    with opened(tmp_path / "orders.db", too_wide(), activities=(small,)) as engine:
        assert engine.run(too_wide(), LIMIT, id="wide") == sum(range(LIMIT))


def test_a_workflow_that_blocks_its_thread_is_named_by_line_and_the_others_go_on(tmp_path: Path) -> None:
    seams = EngineSeams(worker_config=WorkerConfig(deadlock_timeout=0.05))
    url = f"sqlite:///{tmp_path}/orders.db"
    with seamed(Engine, seams, url, workflows=[never_waits, ordinary], activities=[ordinary_step]) as engine:
        blocking = engine.start(never_waits, id="blocking")
        others_go_on(engine)
        line = never_waits.fn.__code__.co_firstlineno
        complaint = trouble(engine, "blocking").workflow_task_failure
        assert "blocked its thread" in complaint
        assert any(f"{__file__}:{number}" in complaint for number in (line + 2, line + 3)), complaint
        others_go_on(engine)
        blocking.terminate("blocks")
        assert blocking.describe().status is WorkflowStatus.TERMINATED
