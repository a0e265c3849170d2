"""What carries workflow code: runs it until every branch of it waits, and goes on from there later.

`GreenletFiber` carries a `def` workflow. `call()` looks like any function because the greenlet's
whole stack stays where it is while the machine, in the greenlet's parent, finishes the task. There
is one branch, so one thing waited for.

A greenlet belongs to the thread that first ran it: a machine stays on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from greenlet import getcurrent, greenlet

from perdure.sdk.abandoned import abandon
from perdure.sdk.errors import CancelledError, EngineError
from perdure.sdk.replay.entry import Operation, Site, site_of
from perdure.sdk.replay.running import WorkflowClosed

if TYPE_CHECKING:
    from perdure.sdk.replay.machine import WorkflowMachine

REFUSALS_MAX = 100
"""How often closed code may catch WorkflowClosed and ask again before it is left standing for good."""


class Fiber(Protocol):
    """Carries the code of one run. All of it happens on one thread, inside the machine's activation."""

    done: bool
    """The code returned or raised."""
    value: Any
    error: BaseException | None

    def run(self) -> None:
        """Start, or go on with whatever need not wait any more, until all of it waits."""
        ...

    def cancel(self) -> None:
        """Raise a cancellation where the code waits, at the next `run`."""
        ...

    def close(self) -> None:
        """Drop the code: no more of it runs than its clean-up blocks, and those can ask for nothing."""
        ...

    def refuse(self) -> None:
        """Closed code asks for something: raises WorkflowClosed; if that never ends, makes it wait for ever."""
        ...

    def sites(self) -> list[Site]:
        """The lines at which branches of the code wait, the main one first."""
        ...


class GreenletFiber:
    """A `def` workflow."""

    __slots__ = ("canceling", "done", "error", "greenlet", "machine", "ready", "refusals", "value", "waiting")

    def __init__(self, machine: WorkflowMachine) -> None:
        self.machine = machine
        self.greenlet: greenlet | None = None
        self.waiting: Operation | None = None
        self.ready: Callable[[], bool] | None = None
        self.canceling = False
        self.refusals = 0
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        carrier = self.greenlet
        if carrier is None:
            carrier = self.greenlet = greenlet(self._main)
        elif not self._runnable():
            return
        else:
            carrier.parent = getcurrent()
        carrier.switch()

    def _runnable(self) -> bool:
        if self.canceling:
            return True
        if self.waiting is not None:
            return self.waiting.done
        return _holds(self.ready)

    def _main(self) -> None:
        try:
            machine = self.machine
            self.value = machine.definition.fn(*machine.arguments())
        except WorkflowClosed:
            pass  # dropped from the cache: nobody asks how it ended
        except BaseException as error:  # also SystemExit: user code must not end the worker
            self.error = error
        self.done = True

    def _park(self) -> None:
        """Give the thread back to the machine until `run` finds this fiber runnable."""
        carrier = getcurrent()
        if carrier is not self.greenlet:
            raise EngineError(
                "workflow code waits where it cannot: inside a condition or a greenlet of its own. "
                "A condition given to wait() must only look at values."
            )
        parent = carrier.parent
        assert parent is not None
        parent.switch()

    def join(self, operation: Operation) -> Any:
        """Wait for an operation. Returns its value or raises its error; CancelledError when the run is cancelled."""
        while not operation.done:
            if self.canceling:
                self.canceling = False
                if operation.cancel():
                    raise self._cancelled()
            self.machine.check_open()
            self.waiting = operation
            self._park()
        self.waiting = None
        return operation.result()

    def wait(self, ready: Callable[[], bool], cancels: Iterable[Operation] = ()) -> None:
        """Wait until `ready()`. When the run is cancelled: cancels those operations, raises CancelledError."""
        while not ready():
            if self.canceling:
                self.canceling = False
                for operation in cancels:
                    operation.cancel()
                raise self._cancelled()
            self.machine.check_open()
            self.waiting, self.ready = None, ready
            self._park()
        self.ready = None

    def _cancelled(self) -> CancelledError:
        reason = self.machine.cancel_reason
        return CancelledError(f"the workflow was cancelled: {reason}" if reason else "the workflow was cancelled")

    def cancel(self) -> None:
        self.canceling = True

    def close(self) -> None:
        carrier = self.greenlet
        self.greenlet = None
        if carrier is None or carrier.dead:
            return
        self.greenlet = carrier
        carrier.parent = getcurrent()
        carrier.throw(WorkflowClosed)
        if not carrier.dead:
            abandon(carrier)
        self.greenlet = None

    def refuse(self) -> None:
        self.refusals += 1
        if self.refusals > REFUSALS_MAX and getcurrent() is self.greenlet:
            self._park()
        raise WorkflowClosed

    def sites(self) -> list[Site]:
        frame: FrameType | None = None if self.greenlet is None else self.greenlet.gr_frame
        site = site_of(frame)
        return [] if site is None else [site]


def _holds(ready: Callable[[], bool] | None) -> bool:
    """An error in a user's condition is raised where the user waits for it, so that counts as ready."""
    try:
        return ready is None or bool(ready())
    except Exception:
        return True
