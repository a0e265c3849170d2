"""What carries a `def` workflow: greenlets.

`call()` looks like any function because the greenlet's whole stack stays where it is while the
machine, in the greenlet's parent, finishes the task. The workflow's function is the main branch;
each handler of a signal or an update is one more, with a greenlet of its own. A branch waits for
one thing.

A greenlet belongs to the thread that first ran it: a machine stays on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, ClassVar

from greenlet import getcurrent, greenlet

from perdure.sdk.abandoned import abandon
from perdure.sdk.errors import CancelledError, EngineError
from perdure.sdk.replay.completion import is_cancellation
from perdure.sdk.replay.entry import Operation, Site, is_user_frame, site_of
from perdure.sdk.replay.fiber import HAPPENED, REFUSALS_MAX, Ended, Happened, Interrupt
from perdure.sdk.replay.flags import Flag
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import WorkflowClosed

_NOBODY: Any = None
"""The machine of a fiber that was dropped."""


def _nothing(*args: object) -> None:
    """What a branch runs that was dropped."""


class Branch:
    """One line of execution of a `def` workflow: its function, or a handler.

    Attributes:
        canceling, interrupts: what it is still to be told: a cancellation of the run; cancelled scopes it is in, the
            outermost first.
        asked: what it goes on to wait for although that was cancelled: how it ends may say what is to be told.
        renewed: another cancellation has come since.
        told, told_by: the newest cancellation that was raised in it, and the scope that is meant, None for the run.
        level: how many scopes it is in.
        left: its code did not end when it was closed.
    """

    __slots__ = (
        "asked", "canceling", "done", "ended", "greenlet", "holds", "interrupts", "left", "level", "ready", "renewed",
        "shields", "told", "told_by", "waiting", "work",
    )  # fmt: skip

    def __init__(self, work: Callable[[], Any], ended: Ended, *, holds: bool) -> None:
        self.work = work
        self.ended = ended
        self.holds = holds
        self.greenlet: greenlet | None = None
        self.waiting: Operation | None = None
        self.ready: Callable[[], bool] | None = None
        self.canceling = False
        self.shields = 0
        self.interrupts: list[Interrupt] = []
        self.asked: Operation | None = None
        self.renewed = False
        self.told: BaseException | None = None
        self.told_by: Interrupt | None = None
        self.level = 0
        self.done = False
        self.left = False

    def runnable(self) -> bool:
        """Whether it need not wait any more."""
        if (self.canceling or self.interrupts) and self.is_told():
            return True
        if self.waiting is not None:
            return self.waiting.done
        return _holds(self.ready)

    def is_told(self) -> bool:
        """Whether a cancellation is to be raised: no shield holds it back, and what it awaits was not asked to end."""
        if self.asked is not None and not self.renewed:
            return False
        return (self.canceling and not self.shields) or bool(self.interrupts and self.open_interrupts())

    def open_interrupts(self) -> list[Interrupt]:
        """Interrupts that no shield holds back."""
        return [interrupt for interrupt in self.interrupts if self.shields <= interrupt.shields]

    def advance(self) -> None:
        """Run it until it waits or ends."""
        carrier = self.greenlet
        if carrier is None:
            carrier = self.greenlet = greenlet(self._run)
        else:
            carrier.parent = getcurrent()
        carrier.switch()

    def _run(self) -> None:
        value, error = None, None
        try:
            value = self.work()
        except WorkflowClosed:
            self.done = True  # dropped from the cache: nobody asks how it ended
            return
        except BaseException as raised:  # also SystemExit: user code must not end the worker
            error = raised
        self.done = True
        self.ended(value, error)

    def park(self) -> None:
        """Give the thread back to the machine until this branch is advanced."""
        carrier = getcurrent()
        if carrier is not self.greenlet:
            raise EngineError(
                "workflow code waits where it cannot: inside a condition or a greenlet of its own. "
                "A condition given to workflow.wait_condition() must only look at values."
            )
        parent = carrier.parent
        assert parent is not None
        parent.switch()

    def close(self) -> None:
        """Throw WorkflowClosed into it."""
        carrier = self.greenlet
        if carrier is None or carrier.dead:
            self.greenlet = None
            return
        carrier.parent = getcurrent()
        carrier.throw(WorkflowClosed)
        if not carrier.dead:
            self.left = True
            abandon(carrier)
        self.greenlet = None

    def let_go(self) -> bool:
        """Refer to nothing, so that what was a circle is freed at once and not by the cycle collector, in its time.
        False: code of it is left, which may still ask."""
        if self.left:
            return False
        self.work = self.ended = _nothing
        self.waiting = self.asked = self.ready = None
        return True

    def frame(self) -> FrameType | None:
        """Where it waits."""
        return None if self.greenlet is None else self.greenlet.gr_frame


class GreenletFiber:
    """A `def` workflow."""

    blocks: ClassVar[bool] = True
    __slots__ = ("branches", "current", "done", "error", "machine", "main", "refusals", "run_cancelled", "value")

    def __init__(self, machine: Run) -> None:
        self.machine = machine
        self.main = Branch(machine.begin, self._main_ended, holds=True)
        self.branches: list[Branch] = []
        self.current = self.main
        self.refusals = 0
        self.run_cancelled: CancelledError | None = None
        """What the code was told when the run was cancelled."""
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        main = self.main
        if not self.branches and not main.done and main.runnable():
            self.current = main
            main.advance()
        if self.branches:
            self._run_all()
        elif main.done:
            self.done = True

    def _run_all(self) -> None:
        """Handlers in the order of their coming, then the main branch, until all wait or the run is over."""
        moved = True
        while moved and not self.done:
            moved = False
            for branch in [*self.branches, self.main]:
                if branch.done or not branch.runnable():
                    continue
                self.current, moved = branch, True
                branch.advance()
                if self._is_over():
                    break
        self.branches = [branch for branch in self.branches if not branch.done]

    def _is_over(self) -> bool:
        """The main branch has ended, and with it the run, unless a handler holds it open."""
        if self.main.done and not self.done:
            self.done = not any(branch.holds and not branch.done for branch in self.branches)
        return self.done

    def _main_ended(self, value: Any, error: BaseException | None) -> None:
        self.value, self.error = value, error
        if error is not None:
            self.done = True

    def spawn(self, work: Callable[[], Any], ended: Ended, *, holds: bool) -> None:
        self.branches.append(Branch(work, ended, holds=holds))

    def fail(self, error: BaseException) -> None:
        self.error, self.done = error, True

    def blocking(self, what: str, instead: str) -> GreenletFiber:
        return self

    def carry(self, what: str, here: Callable[..., Any], awaited: Callable[..., Any], *args: Any) -> Any:
        return here(self, *args)

    def settle(self, operation: Operation, what: str) -> Happened:
        self.join(operation)
        return HAPPENED

    def follow(self, steps: Iterable[Callable[[], bool]]) -> Happened:
        for condition in steps:
            self.wait(condition)
        return HAPPENED

    def note(self, made: Any, what: str) -> None:
        """Nothing is awaited: all of it has happened."""

    def join(self, operation: Operation) -> Any:
        """Wait for an operation. Returns its value or raises its error; CancelledError when the run is cancelled."""
        branch = self.current
        while not operation.done:
            if (branch.canceling or branch.interrupts) and branch.is_told():
                if operation.cancel():
                    raise self._told(branch)
                branch.asked, branch.renewed = operation, False  # it ends later; the cancellation is kept until then
                continue
            self.machine.check_open()
            branch.waiting = operation
            branch.park()
        branch.waiting = None
        if branch.canceling or branch.interrupts:
            self._keep_or_settle(branch, operation)
        return operation.result()

    def _keep_or_settle(self, branch: Branch, operation: Operation) -> None:
        """What a branch has waited for has ended while there is a cancellation to be told: does its end tell it?

        A call that was cancelled and ended well, or failed on its own account, says nothing of the cancellation: that
        is raised at the next wait.
        """
        was_asked, branch.asked, branch.renewed = branch.asked is operation, None, False
        error = operation.error
        if error is not None and is_cancellation(error) and not operation.given_up:
            if was_asked or (isinstance(error, CancelledError) and branch.open_interrupts()):
                branch.told, branch.told_by = error, self._settle(branch, run=was_asked)
        elif was_asked and not self.machine.uses(Flag.CANCELLATION_KEPT):
            branch.canceling = branch.canceling and branch.shields > 0
            branch.interrupts = [interrupt for interrupt in branch.interrupts if branch.shields > interrupt.shields]

    def wait(self, ready: Callable[[], bool], cancels: Iterable[Operation] = ()) -> None:
        """Wait until `ready()`. When the run is cancelled: cancels those operations, raises CancelledError."""
        branch = self.current
        while not ready():
            if (branch.canceling or branch.interrupts) and branch.is_told():
                error = self._told(branch)
                for operation in cancels:
                    operation.cancel()
                raise error
            self.machine.check_open()
            branch.waiting, branch.ready = None, ready
            branch.park()
        branch.ready = None

    def _told(self, branch: Branch) -> CancelledError:
        """What to raise; it is raised once."""
        scope = self._settle(branch)
        if scope is not None:
            error = scope.error()
        else:
            reason = self.machine.cancel_reason
            text = f"the workflow was cancelled: {reason}" if reason else "the workflow was cancelled"
            error = self.run_cancelled = CancelledError(text)
        branch.told, branch.told_by = error, scope
        return error

    def _settle(self, branch: Branch, *, run: bool = True) -> Interrupt | None:
        """Whose cancellation is told: the outermost scope's, or the run's (None); it speaks for those within.

        Args:
            run: the run's is among those that may be meant.
        """
        told = branch.open_interrupts()
        if run and branch.canceling and not branch.shields:
            scope, branch.canceling = None, False
        else:
            scope = told.pop(0)
            branch.interrupts.remove(scope)
        if told and self.machine.uses(Flag.CANCELLATION_KEPT):
            branch.interrupts = [interrupt for interrupt in branch.interrupts if interrupt not in told]
        return scope

    def cancel(self) -> None:
        self.main.canceling = self.main.renewed = True

    def interrupt(self, branch: Branch, scope: Interrupt) -> None:
        """Raise a scope's cancellation where the branch waits, at the next `run`."""
        pending = branch.interrupts
        if pending and not self.machine.uses(Flag.CANCELLATION_KEPT):
            if pending[0].shields > scope.shields:  # as it was: of two, one is forgotten
                branch.interrupts = [scope]
            return
        branch.renewed = True
        branch.interrupts = sorted([*pending, scope], key=lambda interrupt: interrupt.level)

    def shield(self) -> Branch:
        self.current.shields += 1
        return self.current

    def unshield(self, mark: Branch) -> None:
        mark.shields -= 1

    def drop(self) -> None:
        branches, self.branches = [self.main, *self.branches], []
        for branch in branches:
            self.current = branch
            branch.close()
        if all(branch.let_go() for branch in branches):
            self.machine = _NOBODY

    def refuse(self) -> None:
        self.refusals += 1
        branch = self.current
        if self.refusals > REFUSALS_MAX and getcurrent() is branch.greenlet:
            branch.park()
        raise WorkflowClosed

    def sites(self) -> list[Site]:
        found = [site_of(branch.frame()) for branch in (self.main, *self.branches)]
        return [site for site in found if site is not None]

    def stacks(self) -> list[list[Site]]:
        return [_stack(branch.frame()) for branch in (self.main, *self.branches)]

    def ready_count(self) -> int:
        return 0  # nothing but the machine makes a branch go on

    def never_awaited(self) -> None:
        return None  # a call has waited when it returns


def _stack(frame: FrameType | None) -> list[Site]:
    sites: list[Site] = []
    while frame is not None:
        if is_user_frame(frame):
            sites.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return sites


def _holds(ready: Callable[[], bool] | None) -> bool:
    """An error in a user's condition is raised where the user waits for it, so that counts as ready."""
    try:
        return ready is None or bool(ready())
    except Exception:
        return True
