"""What carries workflow code, as a run sees it: runs it until every branch of it waits, and goes on from there later.

`greenlets.py` carries a `def` workflow, `sdk/workflow/loop.py` an `async def` one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from perdure.sdk.errors import CancelledError
from perdure.sdk.replay.entry import Site

REFUSALS_MAX = 100
"""How often closed code may catch WorkflowClosed and ask again before it is left standing for good."""

Ended = Callable[[Any, BaseException | None], None]


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

    def drop(self) -> None:
        """Drop the code: no more of it runs than its clean-up blocks, and those can ask for nothing."""
        ...

    def refuse(self) -> None:
        """Closed code asks for something: raises WorkflowClosed; if that never ends, makes it wait for ever."""
        ...

    def sites(self) -> list[Site]:
        """The lines at which branches of the code wait, the main one first."""
        ...

    def stacks(self) -> list[list[Site]]:
        """For each branch that waits, the lines of workflow code that lead to where it waits, innermost first."""
        ...

    def disturbed(self) -> bool:
        """Whether something is about to run although the code was only looked at."""
        ...

    def never_awaited(self) -> Exception | None:
        """What fails the task when the code has ended well and something that it had to await was not awaited."""
        ...

    def spawn(self, work: Callable[[], Any], ended: Ended, *, holds: bool) -> None:
        """Begin another branch, at the next `run` or later in the present one.

        Args:
            work: a handler with its arguments; in an `async def` workflow it may return an awaitable.
            ended: called inside the branch with its value or its error.
            holds: the run does not close before this branch has ended.
        """
        ...

    def shield(self) -> Any:
        """The branch that is running is not to be told of a cancellation, until `unshield` with what this returns."""
        ...

    def unshield(self, mark: Any) -> None:
        """Undo one `shield`."""
        ...

    def fail(self, error: BaseException) -> None:
        """A branch failed in a way that ends the run: as if the main one had raised it."""
        ...


class Interrupt(Protocol):
    """A cancelled scope that a branch is in."""

    level: int
    """How many scopes the branch was in when it entered this one, this one included."""
    shields: int
    """How many shields there were around it: more than these hold it back."""

    def error(self) -> CancelledError:
        """What the branch is told."""
        ...
