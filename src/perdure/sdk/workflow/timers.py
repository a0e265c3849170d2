"""Timers as workflow code asks for them: `workflow.sleep`, `timer`, `asyncio.sleep`, the time-outs of waits."""

from __future__ import annotations

from datetime import timedelta

from perdure.sdk.interceptors import StartTimerInput, WorkflowChain
from perdure.sdk.options import parse_duration
from perdure.sdk.replay.entry import Operation
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.timer import start_timer
from perdure.sdk.workflow.handles import TimerHandle, handle_of, operation_of


def begin_timer(machine: Run, duration_ns: int, summary: str | None = None) -> Operation:
    """Start a timer, through the run's interceptors if it has some. Raises TypeError, when one gives no handle."""
    chain = machine.chain
    if chain is None:
        return start_timer(machine, duration_ns, summary)
    return operation_of(_intercepted(chain, duration_ns, summary))


def timer_handle(machine: Run, duration_ns: int, summary: str | None = None) -> TimerHandle:
    """Likewise, as code awaits it."""
    chain = machine.chain
    if chain is None:
        return handle_of(machine, start_timer(machine, duration_ns, summary), TimerHandle)
    return _intercepted(chain, duration_ns, summary)


def _intercepted(chain: WorkflowChain, duration_ns: int, summary: str | None) -> TimerHandle:
    # Up to the next microsecond, which is what a timedelta holds: a timer is never early.
    given = chain.outbound.start_timer(StartTimerInput(timedelta(microseconds=-(-duration_ns // 1000)), summary))
    if not isinstance(given, TimerHandle):
        raise TypeError(f"an interceptor's start_timer must give what `next` gives, a TimerHandle, not {given!r}")
    return given


def as_asked(machine: Run, input: StartTimerInput) -> TimerHandle:
    """The end of the chain. Raises TypeError, ValueError."""
    timer = start_timer(machine, parse_duration(input.duration, "timer's duration"), input.summary)
    return handle_of(machine, timer, TimerHandle)
