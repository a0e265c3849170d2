"""`workflow.scope()`: what is begun in a block can be cancelled together.

    with workflow.scope() as search:
        offers = [start(ask, carrier) for carrier in carriers]
        workflow.wait_condition(lambda: any(offer.done() for offer in offers) or withdrawn)
        search.cancel()                      # the activities and timers that are still under way
        ...                                  # the next wait in the block raises CancelledError
    # and the block swallows it: the code goes on here

As with a cancellation of the run, CancelledError is raised where the code waits, once, so that clean-up
in the block may wait. In an `async def` workflow it is asyncio's, raised in the task that is in the block
and in the tasks that were created in it, as `asyncio.timeout` does.

What is begun in a scope finds it by a context variable: each greenlet and each asyncio task has its own.
"""

from __future__ import annotations

import asyncio
from contextvars import Token
from types import TracebackType
from typing import Any

from perdure.sdk.errors import CancelledError
from perdure.sdk.option_names import lists_options
from perdure.sdk.replay.completion import is_cancellation
from perdure.sdk.replay.entry import SCOPE, Operation
from perdure.sdk.replay.flags import Flag
from perdure.sdk.replay.greenlets import GreenletFiber
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import WorkflowClosed, current
from perdure.sdk.workflow.loop import WorkflowLoop


@lists_options
class CancelScope:
    """A block whose activities, timers and waits can be cancelled together. Made by `workflow.scope()`.

    None of its methods raises; what waits in the block is told by a CancelledError.
    """

    def __init__(self, machine: Run) -> None:
        fiber: Any = machine.fiber
        self._host: _SyncHost | _AsyncHost = _SyncHost(self, fiber) if fiber.blocks else _AsyncHost(self, fiber)
        self._operations: list[Operation] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._inner: list[CancelScope] = []
        self._token: Token[Any] | None = None
        self._cancelled = False
        self._closed = False

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel what is under way in the block, and whoever waits in it. Idempotent; nothing once it is left."""
        if self._cancelled or self._closed:
            return
        self._cancelled = True
        self._cancel_operations()
        self._host.interrupt()

    def adopt(self, operation: Operation) -> None:
        """Called for each operation that is begun in the block."""
        if len(self._operations) > 64:
            self._operations = [known for known in self._operations if not known.done]
        self._operations.append(operation)

    def adopt_task(self, task: asyncio.Task[Any]) -> None:
        """Called for each asyncio task that is created in the block."""
        self._tasks.append(task)

    def _cancel_operations(self) -> None:
        """Operations of inner scopes are cancelled too; whether these are themselves cancelled is another question."""
        for task in self._tasks:
            if not task.done():
                self._host.cancel_task(task)
        for operation in self._operations:
            operation.cancel()
        for scope in self._inner:
            scope._cancel_operations()

    def __enter__(self) -> CancelScope:
        outer = SCOPE.get()
        if outer is not None:
            outer._inner.append(self)
        self._token = SCOPE.set(self)
        self._host.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._closed = True
        if isinstance(error, (WorkflowClosed, GeneratorExit)):
            return False  # dropped from the cache: that runs in another context, and nothing comes behind
        assert self._token is not None, "it was entered"
        SCOPE.reset(self._token)
        outer = SCOPE.get()
        if outer is not None:
            outer._inner.remove(self)
        return self._host.leave(error) and self._cancelled


class _SyncHost:
    """The branch of a `def` workflow that is in the block."""

    def __init__(self, scope: CancelScope, fiber: GreenletFiber) -> None:
        self._fiber = fiber
        self._branch = fiber.current

    def enter(self) -> None:
        branch = self._branch
        self.shields = branch.shields
        self.level = branch.level = branch.level + 1

    def interrupt(self) -> None:
        self._fiber.interrupt(self._branch, self)

    def cancel_task(self, task: asyncio.Task[Any]) -> None:
        """There are none in a `def` workflow."""

    def error(self) -> CancelledError:
        """What the branch is told."""
        return CancelledError("the scope was cancelled")

    def leave(self, error: BaseException | None) -> bool:
        """Whether an error that leaves the block may be the scope's own."""
        branch = self._branch
        branch.level -= 1
        if self in branch.interrupts:
            branch.interrupts.remove(self)
        if error is None or not is_cancellation(error) or error is self._fiber.run_cancelled:
            return False
        return (
            error is not branch.told or branch.told_by is self or not self._fiber.machine.uses(Flag.CANCELLATION_KEPT)
        )


class _AsyncHost:
    """The task of an `async def` workflow that is in the block."""

    def __init__(self, scope: CancelScope, fiber: WorkflowLoop) -> None:
        task = asyncio.current_task(fiber)
        assert task is not None, "workflow code runs in tasks"
        self._scope = scope
        self._loop = fiber
        self._task = task
        self._open = False
        self._asked = False

    def enter(self) -> None:
        self._open = True
        self._shields = self._loop.shields_of(self._task)
        self._before = self._task.cancelling()

    def interrupt(self) -> None:
        if asyncio.current_task(self._loop) is self._task:
            # It cannot be told while it runs: at its next wait.
            self._loop.call_soon(self._tell)
        else:
            self._tell()

    def _tell(self) -> None:
        if not self._open or self._task.done():
            return
        if self._loop.shields_of(self._task) > self._shields:
            self._loop.behind_shield(self._task, self._tell)
            return
        if self._loop.postpones(self._task, self._tell):
            return
        self._asked = True
        self._loop.deliver(self._task, self)

    is_run = False

    def stops_at(self, task: asyncio.Task[Any]) -> bool:
        """Whether a shield in the block holds the scope's cancellation back from a task."""
        shields = self._loop.shields_of(task)
        if task is self._task:
            return shields > self._shields
        return shields > 0 and self._loop.machine.uses(Flag.CANCELLATION_KEPT)

    def is_over_for(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task need not be told any more: the block's own, once it has left it."""
        return task is self._task and not self._open

    def leave(self, error: BaseException | None) -> bool:
        self._open = False
        left = self._task.uncancel() if self._asked else self._task.cancelling()
        return isinstance(error, asyncio.CancelledError) and left <= self._before

    def cancel_task(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task that was created in the block."""
        if not task.done() and not self._loop.postpones(task, lambda: self.cancel_task(task)):
            self._loop.deliver(task, self)


@lists_options
class Scopes:
    """A part of `workflow`."""

    @staticmethod
    def scope() -> CancelScope:
        """A block whose activities, timers and waits can be cancelled together: `with workflow.scope() as scope`.

        `scope.cancel()` cancels what is under way in it and raises CancelledError (`async def`: asyncio's) where the
        code waits in it, once. The block swallows that, and the code goes on behind it. Anybody may cancel it: the
        block's own code, a handler of a signal, another task. What is begun in a `workflow.shield()` is not in it.
        """
        return CancelScope(current("workflow.scope()"))
