"""`TestEngine`: the whole engine on a clock that skips time when there is nothing to do.

It is the embedded engine that users open, with other parts in a few places: a loop of virtual time, ids from a
seed, a store in memory, and workflow code and activities run on the caller's thread. So a workflow that sleeps for
thirty days takes a millisecond, and the same test takes the same path every time.

Time stands still between calls. While a call waits (`run`, `result`, `advance`), the clock jumps to whatever is
next. After each call everything that needs no time to happen has happened.
"""

from __future__ import annotations

import asyncio
from _thread import get_ident
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from perdure.api.digest import digest
from perdure.api.status import OPEN_FILTER
from perdure.embedded import AsyncEngine, Engine, EngineSeams
from perdure.sdk.declare.definitions import AnyActivity
from perdure.sdk.errors import DeterminismViolation, EngineClosedError, EngineError
from perdure.sdk.interceptors import Interceptor
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import SECOND_NS, YEARS, Duration, parse_duration
from perdure.sdk.replay.running import running
from perdure.sdk.worker import WorkerConfig
from perdure.testing.bugs import DEFAULT_ATTEMPTS, Bugs, WatchedReach
from perdure.testing.mocks import UNSET, ActivityMock, MockRegistry, behaviour
from perdure.testing.virtual_time import DeadlockError, VirtualTimeLoop, abandon, run_virtual
from perdure.testing.world import DEFAULT_EPOCH_NS, TestClock, patient_config, seeded_ids

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_PATIENCE = "3650 days"
_STEPS_MAX = 20_000
"""Turns of the loop after a call; what still goes on then (an endless workflow) goes on with the next call."""
DEFAULT_STEPS = 50_000
"""How often one call may have the clock read, which every decision does: about ten thousand steps of workflows."""
_SHOWN = 5


@lists_options
class AsyncTestEngine(AsyncEngine):
    """`TestEngine` for `async def` tests, on a loop of virtual time: see `virtual_time`."""

    __test__ = False

    def __init__(
        self,
        url: str = "memory://",
        *,
        task_queue: str = "default",
        workflows: Iterable[object] | None = None,
        activities: Iterable[object] | None = None,
        starts_at: datetime | None = None,
        seed: int = 0,
        attempts: int = DEFAULT_ATTEMPTS,
        retry_bugs: bool = False,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        epoch_ns = DEFAULT_EPOCH_NS if starts_at is None else _epoch_ns(starts_at)
        self.clock = TestClock(epoch_ns)
        self._bugs = Bugs(retry=retry_bugs, attempts=attempts)
        self._seams = EngineSeams(
            clock=self.clock,
            new_id=seeded_ids(self.clock, seed),
            engine_config=patient_config(),
            worker_config=WorkerConfig(),
            inline=True,
            instance_key="test",
            registry=MockRegistry,
            on_failure=self._bugs.hear,
        )
        super().__init__(
            url,
            task_queue=task_queue,
            workflows=workflows,
            activities=activities,
            identity="test",
            interceptors=interceptors,
        )
        self._reach = WatchedReach(self._reach, self._bugs)

    async def open(self) -> AsyncTestEngine:
        """As `AsyncEngine.open`. Raises EngineError on a loop of real time."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualTimeLoop):
            raise EngineError(
                "a test engine needs a loop of virtual time: decorate the test with @perdure.testing.virtual_time, or "
                "use TestEngine in a plain `def` test"
            )
        self.clock.loop = loop
        await super().open()
        return self

    async def __aenter__(self) -> AsyncTestEngine:
        return await self.open()

    def now(self) -> datetime:
        """The time of the test, UTC."""
        return datetime.fromtimestamp(self.clock.now_ns() / SECOND_NS, UTC)

    async def advance(self, duration: Duration) -> None:
        """Let so much time pass, and with it all that is due. Raises WorkflowTaskFailedError."""
        passing = asyncio.sleep(parse_duration(duration, "duration") / SECOND_NS)
        await self._bugs.race(passing, waits_for_a_run=False)
        await settle()

    def mock(
        self,
        activity: str | AnyActivity,
        fn: Callable[..., Any] | None = None,
        *,
        returns: Any = UNSET,
        raises: BaseException | None = None,
    ) -> ActivityMock:
        """See `TestEngine.mock`."""
        registry = self._registry
        assert isinstance(registry, MockRegistry), "the seam above made it one"
        return registry.mock(activity, behaviour(fn, returns, raises))


async def settle() -> None:
    """Return when nothing more happens without time passing."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    for _ in range(_STEPS_MAX):
        await asyncio.sleep(0)
        if not loop.is_busy():
            return


@lists_options
class TestEngine(Engine):
    """An `Engine` for tests: see the module's text. Use it in a `with` block.

    Args:
        url: the store; "memory://" by default, "sqlite:///…" works as well.
        task_queue: whose tasks it serves.
        workflows, activities: what it runs; default everything decorated in this process.
        starts_at: the time at which the test begins; default 2025-01-01 00:00 UTC.
        seed: of all ids. The same seed gives the same ids.
        patience: how much time a call may skip before it is taken to wait for what never comes.
        steps: how much may happen in one call (readings of the clock, a few per step of a workflow) before it is
            taken to go round in circles.
        attempts: how often an activity may fail that is retried without end, before whoever waits for a run is told.
        retry_bugs: leave workflow tasks that fail to their retries, as in production. Else whoever waits for a run
            (`run`, `result`, `update`, `query`) is told of the first one.
        interceptors: as of an `Engine`.

    Every method of `Engine` is there. Beside them: `mock`, `advance`, `now`.

    Raises:
        WorkflowTaskFailedError: in methods that wait: the code of a workflow has a bug, which is the cause.
        DeadlockError: in any method: it waits for what can never happen. The message names what is still running.
        EndlessRetriesError: a DeadlockError, while an activity fails for ever.
    """

    __test__ = False

    def __init__(
        self,
        url: str = "memory://",
        *,
        task_queue: str = "default",
        workflows: Iterable[object] | None = None,
        activities: Iterable[object] | None = None,
        starts_at: datetime | None = None,
        seed: int = 0,
        patience: Duration = DEFAULT_PATIENCE,
        steps: int = DEFAULT_STEPS,
        attempts: int = DEFAULT_ATTEMPTS,
        retry_bugs: bool = False,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        super().__init__(url)
        self._inner = AsyncTestEngine(
            url,
            task_queue=task_queue,
            workflows=workflows,
            activities=activities,
            starts_at=starts_at,
            seed=seed,
            attempts=attempts,
            retry_bugs=retry_bugs,
            interceptors=interceptors,
        )
        self._client = self._engine = self._inner
        self._patience = patience
        self._steps = steps
        self._patience_s = parse_duration(patience, "patience") / SECOND_NS
        self._loop: VirtualTimeLoop | None = None
        self._is_open = False

    def open(self) -> TestEngine:
        """Open the engine on a loop of its own. Raises as `AsyncEngine.open`."""
        if self._loop is not None:
            raise EngineError("the test engine was opened before; make a new one")
        self._loop = VirtualTimeLoop()
        self._is_open = True
        try:
            self._call(self._inner.open())
        except BaseException:
            self._end()
            raise
        return self

    def close(self, *, at_once: bool = False) -> None:
        """Stop everything. Idempotent."""
        if not self._is_open:
            return
        try:
            self._call(self._inner.close(at_once=at_once))
        finally:
            self._end()

    def __enter__(self) -> TestEngine:
        return self.open()

    async def __aenter__(self) -> AsyncTestEngine:
        return await self._inner.open()

    def run_forever(self) -> None:
        """Not in a test, whose time stands still between calls. Raises EngineError."""
        raise EngineError("the time of a test engine passes while it is asked for something: call advance(...)")

    def mock(
        self,
        activity: str | AnyActivity,
        fn: Callable[..., Any] | None = None,
        *,
        returns: Any = UNSET,
        raises: BaseException | None = None,
    ) -> ActivityMock:
        """Replace an activity, by its name in history or by the decorated function, until `restore()`.

        Args:
            fn: run in its place, `def` or `async def`; a `unittest.mock.Mock` will do.
            returns: instead of a function: the result of every call.
            raises: instead of a function: what every attempt raises. The retry policy of the call holds, and
                its pauses are skipped.

        Usable as a context manager. Raises TypeError unless exactly one of the three is given.
        """
        return self._inner.mock(activity, fn, returns=returns, raises=raises)

    def advance(self, duration: Duration) -> None:
        """Let so much time pass, and with it all that is due: timers fire, time-outs strike, retries are made."""
        self._call(self._inner.advance(duration))

    def now(self) -> datetime:
        """The time of the test, UTC."""
        return self._inner.now()

    def _call(self, work: Coroutine[Any, Any, R]) -> R:
        loop = self._loop
        try:
            if loop is None or not self._is_open:
                state = "closed" if loop is not None else "not opened yet: use it in a `with` block, or call open()"
                raise EngineClosedError(f"the test engine is {state}")
            self._check_caller(loop)
        except BaseException:
            work.close()
            raise
        task = loop.create_task(self._and_settle(work))
        given_up: list[str] = []

        def give_up(why: str) -> None:
            given_up.append(why)
            task.cancel()

        limit = loop.call_later(self._patience_s, give_up, f"waited for {self._patience} of skipped time")
        steps = f"followed {self._steps:,} steps to {{:%Y-%m-%d}}"
        self._inner.clock.limit(self._steps, lambda: give_up(steps.format(self._inner.now())))
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            why = given_up[0] if given_up else "was cancelled"
            raise DeadlockError(f"{why}, and what is awaited did not happen. {self._still_open()}") from None
        finally:
            limit.cancel()
            self._inner.clock.limit(0, None)

    async def _and_settle(self, work: Coroutine[Any, Any, R]) -> R:
        try:
            return await work
        finally:
            await settle()

    def _check_caller(self, loop: VirtualTimeLoop) -> None:
        if get_ident() in running:
            raise DeterminismViolation(
                "workflow code asked the engine directly; replay would ask again: do it in an activity"
            )
        if loop.is_running():
            raise EngineError(
                "the test engine was asked by an activity that it is running itself, on this very thread: "
                "make the activity `async def` and give it an AsyncTestEngine, or mock it"
            )

    def _still_open(self) -> str:
        """What runs, and what happened last in it."""
        assert self._loop is not None
        lines = self._loop.run_until_complete(self._describe_open())
        return "\n".join(["Still running:", *lines]) if lines else "Nothing is running."

    async def _describe_open(self) -> list[str]:
        found = await self._inner.list(OPEN_FILTER, limit=_SHOWN)
        lines: list[str] = []
        for summary in found:
            last = digest(await self._inner.get(summary.id).history())[-1]
            what = " ".join(part for part in (last.name, last.subject, last.detail) if part)
            lines.append(f"  {summary.workflow_type} {summary.id!r}: its last event is {last.event_id} {what}")
            lines.append(f"    {(await self._inner.get(summary.id).describe()).situation}")
        return lines

    def _end(self) -> None:
        self._is_open = False
        if self._loop is not None:
            abandon(self._loop)


def _epoch_ns(starts_at: datetime) -> int:
    """Raises ValueError for a time that no store holds."""
    if starts_at.year not in YEARS:
        raise ValueError(f"starts_at must be in the years {YEARS[0]} to {YEARS[-1]}, not {starts_at!r}")
    return round(starts_at.timestamp() * 1e6) * 1000


def virtual_time(test: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Make an `async def` test a plain one, run on a loop of virtual time.

        @virtual_time
        async def test_it():
            async with TestEngine() as engine: ...

    Raises DeadlockError when it waits for what cannot come.
    """

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return run_virtual(lambda loop: test(*args, **kwargs))

    return run
