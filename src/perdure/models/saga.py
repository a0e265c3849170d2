"""Saga: what was done is undone, in reverse, when the rest cannot be done.

    with Saga() as saga:                              # in an `async def` workflow: async with Saga() as saga
        saga.compensate(refund, order)                # before the call: it may have charged and failed to say so
        call(charge, order)
        saga.compensate(release, order)
        call(reserve, order)
        call(ship, order)                             # fails: release, then refund, then the error goes on

Each compensation is an activity with its own retries, recorded like any other, and runs behind a shield:
a cancellation does not interrupt it. One that fails beyond its retries becomes an *intervention*: the run
stays open and waits for a person (`perdure/interventions/`), for money that was taken must not be
forgotten because a service was down for longer than somebody had guessed.

The steps are written once, as generators that yield the condition they wait for; `with` and `async with`
differ in how they wait alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec

import msgspec

from perdure.interventions import MEMO_KEY, Decision, Intervention, alert, signal_of
from perdure.sdk.declare.definitions import ActivityDefinition
from perdure.sdk.errors import ApplicationError, CancelledError, FailureError
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Retry
from perdure.sdk.texts import text_of
from perdure.sdk.workflow.workflow import ActivityHandle, start, workflow

P = ParamSpec("P")

COMPENSATION_RETRY = Retry(maximum_attempts=10)
"""Of compensations that declare none: some 17 minutes. Without a ceiling nobody would ever be asked."""

Condition = Callable[[], object]
Steps = Generator[Condition, None, None]


class Compensation(NamedTuple):
    """What undoes a step."""

    activity: ActivityDefinition[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@lists_options
class Saga:
    """Runs compensations when the block is left by an error that ends the run, then raises that error again.

    Args:
        parallel: all compensations at once, instead of one after the other in reverse.
        retry: of compensations that declare none.

    What counts as such an error: an ActivityError or any other FailureError, a TimeoutError, a cancellation, what
    `@workflow(fail_on=...)` names, and what is given here as `also`. Not a bug (a KeyError): that fails the
    workflow task alone, and mended code goes on, with nothing undone.

    Raises:
        ApplicationError: of type "CompensationFailed", from the block's own error: a person decided that a
            compensation cannot be done.
    """

    def __init__(
        self, *, parallel: bool = False, retry: Retry = COMPENSATION_RETRY, also: tuple[type[Exception], ...] = ()
    ) -> None:
        self._parallel = parallel
        self._retry = retry
        self._also = also
        self._compensations: list[Compensation] = []
        self._failed: list[str] = []

    def compensate(self, activity: ActivityDefinition[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Remember an activity that undoes what comes next, or what was just done.

        Remembered before the step, it must cope with a step that never happened; remembered behind it, a step
        that was done and failed to say so is not undone. Before is the safe choice.

        Raises nothing: arguments that do not fit are an error when it is called.
        """
        if activity.activity_options.retry is None:
            activity = activity.options(retry=self._retry)
        self._compensations.append(Compensation(activity, args, kwargs))

    def __enter__(self) -> Saga:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not self._undoes(error):
            return
        with workflow.shield():
            for condition in self._all():
                workflow.wait_condition(condition)
        self._complain(error)

    async def __aenter__(self) -> Saga:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not self._undoes(error):
            return
        with workflow.shield():
            for condition in self._all():
                await workflow.wait_condition(condition)
        self._complain(error)

    def _undoes(self, error: BaseException) -> bool:
        if isinstance(error, GeneratorExit):
            return False  # a coroutine that is thrown away: the run goes on elsewhere
        return bool(self._compensations) and (isinstance(error, self._also) or workflow.ends_run(error))

    def _complain(self, error: BaseException) -> None:
        if self._failed:
            raise ApplicationError(
                f"not undone: {', '.join(self._failed)}; the saga failed with: {text_of(error)}",
                type="CompensationFailed",
                details=self._failed,
            ) from error

    # --- the steps ---------------------------------------------------------------------------------

    def _all(self) -> Steps:
        undone, self._compensations = self._compensations[::-1], []
        if self._parallel:
            yield from _together([self._one(compensation) for compensation in undone])
        else:
            for compensation in undone:
                yield from self._one(compensation)

    def _one(self, compensation: Compensation) -> Steps:
        while True:
            handle = start(compensation.activity, *compensation.args, **compensation.kwargs)
            yield handle.done
            error = _error_of(handle)
            if error is None:
                return
            decided: list[Decision] = []
            yield from _intervention(compensation, error, decided)
            decision = decided[0]
            if decision.action == "retry":
                continue
            if decision.action == "fail":
                self._failed.append(f"{compensation.activity.name} ({decision.who}: {decision.why})")
            return


def _intervention(compensation: Compensation, error: FailureError, decided: list[Decision]) -> Steps:
    """Open an entry, tell somebody, wait until it is decided, close it."""
    info = workflow.info()
    entry = Intervention(
        id=workflow.uuid4().hex,
        workflow_id=info.workflow_id,
        run_id=info.run_id,
        workflow_type=info.workflow_type,
        step=compensation.activity.name,
        error=str(error.root) or type(error.root).__name__,
        _opened_at_ns=workflow.time_ns(),
    )

    def decide(decision: Decision) -> None:
        decided.append(decision)

    workflow.on_signal(signal_of(entry.id), decide)
    _upsert([*_open_entries(), msgspec.to_builtins(entry)])
    told = start(alert, entry)
    yield lambda: decided
    _upsert([known for known in _open_entries() if known["id"] != entry.id])
    # The run must not close before somebody was told; whether that worked is in the history.
    yield told.done


def _open_entries() -> list[dict[str, Any]]:
    return workflow.memo().get(MEMO_KEY, [])


def _upsert(entries: list[dict[str, Any]]) -> None:
    workflow.upsert_memo({MEMO_KEY: entries or None})


def _error_of(handle: ActivityHandle[Any]) -> FailureError | None:
    """Why a compensation that has ended did not succeed."""
    try:
        handle.result()
    except FailureError as error:
        return error
    except asyncio.CancelledError:  # how a handle of an `async def` workflow says it
        return CancelledError("the compensation was cancelled")
    return None


def _together(steps: list[Steps]) -> Steps:
    """Several at once: each goes on when its own condition holds."""
    waiting: dict[Steps, Condition] = {}
    for one in steps:
        _advance(one, waiting)
    while waiting:
        yield lambda: any(condition() for condition in waiting.values())
        for one in [one for one, condition in waiting.items() if condition()]:
            _advance(one, waiting)


def _advance(one: Steps, waiting: dict[Steps, Condition]) -> None:
    waiting.pop(one, None)
    try:
        waiting[one] = next(one)
    except StopIteration:
        return
