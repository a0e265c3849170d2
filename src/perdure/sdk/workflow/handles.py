"""Handles: what is under way, for workflow code to wait for.

Each is named by what it is of: `ActivityHandle`, `TimerHandle`, and `ChildHandle` beside them. A `Handle` is an
asyncio.Future, so that gather and wait take it as it is, with no task around it. A `def` workflow uses it too, on a
loop that carries nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from perdure.sdk.errors import CancelledError
from perdure.sdk.replay.completion import is_cancellation
from perdure.sdk.replay.entry import Operation
from perdure.sdk.replay.flags import Flag
from perdure.sdk.replay.run import Run
from perdure.sdk.workflow.cancelling import Cancelling
from perdure.sdk.workflow.loop_surface import NO_LOOP

T = TypeVar("T")


class Handle(asyncio.Future[T]):
    """Something under way: an activity, a timer, a child.

    In an `async def` workflow: `await` it, or give it to asyncio.gather, asyncio.wait, asyncio.timeout.
    In a `def` workflow: `result()` waits; `workflow.wait_all` and `workflow.wait_any` wait for many.
    """

    __slots__ = ("_asked_by", "_carrier", "_number", "_operation")

    _operation: Operation
    _carrier: Any
    _number: int
    _asked_by: Cancelling | None

    def __hash__(self) -> int:
        return self._number

    def result(self) -> T:
        """The value; in a `def` workflow waits for it.

        Raises:
            ActivityError: the activity failed for good; its cause says why.
            CancelledError: this was cancelled, or the workflow was, while waiting.
            asyncio.InvalidStateError: in an `async def` workflow, when it is not done: await it instead.
        """
        carrier = self._carrier
        if carrier.blocks:
            return carrier.join(self._operation)
        return super().result()

    def cancel(self, msg: Any = None) -> bool:
        """Ask it to stop. False when it was done already.

        What it then does is up to the activity's `cancellation`: "try" (the default) and "abandon": this handle
        is cancelled now. "wait": it is done when the activity has ended.
        """
        operation = self._operation
        if operation.done or self.done():
            return False
        if self._carrier.blocks:
            operation.given_up = not operation.is_canceling
            operation.cancel()
            return True
        cancelling: Cancelling | None = self._carrier.cancelling
        if cancelling is None:
            operation.given_up = not operation.is_canceling
        operation.listener = None
        if operation.cancel():
            return super().cancel(msg)
        operation.listener = self._settle
        if cancelling is not None:  # a task's cancellation has come to this: it is not told before this has ended
            cancelling.kept = True
            self._asked_by = cancelling
        return True

    def _settle(self, operation: Operation) -> None:
        if self.done():
            return
        error, asked_by = operation.error, self._asked_by
        if error is None:
            self.set_result(operation.value)
        elif isinstance(error, CancelledError):
            super().cancel((asked_by is not None and asked_by.message) or error.message)
        elif asked_by is not None and asked_by.by_code and is_cancellation(error) and not operation.given_up:
            self._carrier.once_running(lambda: self._settle_cancelled(error, asked_by.message))
        else:
            self.set_exception(error)

    def _settle_cancelled(self, error: BaseException, message: Any) -> None:
        """A child was cancelled because a scope or a time-out around it had asked for that: then it says only that."""
        if self._carrier.machine.uses(Flag.CANCELLATION_KEPT):
            super().cancel(message)
        elif not self.done():
            self.set_exception(error)


class ActivityHandle(Handle[T]):
    """An activity under way: what `start` and `start_local` give.

    `result` raises ActivityError of one that has not ended well, and `cancel` nothing.
    """

    __slots__ = ()


class TimerHandle(Handle[None]):
    """A durable timer under way: what `workflow.timer` gives. Its value is None.

    `result` raises CancelledError of one that has not ended well, and `cancel` nothing.
    """

    __slots__ = ()


def handle_of(machine: Run, operation: Operation, kind: type[Any]) -> Any:
    """The handle of an operation that has just been started, of one of the kinds of `Handle`."""
    fiber: Any = machine.fiber
    handle: Handle[Any] = kind(loop=NO_LOOP if fiber.blocks else fiber)
    # One file, the halves of one thing: what a handle keeps is no user's business.
    operation.listener = handle._settle  # pyright: ignore[reportPrivateUsage]
    handle._operation = operation  # pyright: ignore[reportPrivateUsage]
    handle._carrier = fiber  # pyright: ignore[reportPrivateUsage]
    handle._number = machine.next_number()  # pyright: ignore[reportPrivateUsage]
    handle._asked_by = None  # pyright: ignore[reportPrivateUsage]
    return handle


def operation_of(handle: Handle[Any]) -> Operation:
    """What a handle is of."""
    return handle._operation  # pyright: ignore[reportPrivateUsage] - its own file


async def wait_any(*handles: Handle[Any]) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(handles, return_when=asyncio.FIRST_COMPLETED)
