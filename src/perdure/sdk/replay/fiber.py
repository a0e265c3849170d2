"""What carries workflow code, as a run sees it: runs it until every branch of it waits, and goes on from there later.

`greenlets.py` carries a `def` workflow, `sdk/workflow/loop.py` an `async def` one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any, ClassVar, Protocol

from perdure.sdk.errors import CancelledError
from perdure.sdk.replay.entry import Operation, Site

REFUSALS_MAX = 100
"""How often closed code may catch WorkflowClosed and ask again before it is left standing for good."""

Ended = Callable[[Any, BaseException | None], None]


class Happened:
    """What is awaited in an `async def` workflow is this in a `def` one: it has happened already."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        return
        yield


HAPPENED = Happened()


class Fiber(Protocol):
    """Carries the code of one run. All of it happens on one thread, inside the machine's activation."""

    blocks: ClassVar[bool]
    """The code waits where it asks, as `def` does; `async def` awaits what it is given."""
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

    def ready_count(self) -> int:
        """How much would run if the fiber did. Not 0 where code ended with more to do, or asks again and again.

        What a look at the code adds to it, the look has set off.
        """
        ...

    def never_awaited(self) -> Exception | None:
        """What fails the task when the code has ended well and something that it had to await was not awaited."""
        ...

    def blocking(self, what: str, instead: str) -> Any:
        """The fiber itself, which can wait where it is called.

        Args:
            what, instead: what was asked for, and what an `async def` workflow writes in its place.

        Raises EngineError in an `async def` workflow.
        """
        ...

    def carry(self, what: str, here: Callable[..., Any], awaited: Callable[..., Any], *args: Any) -> Any:
        """What code asks for and has to wait for, in the style in which it is written.

        Args:
            what: its name, for an awaitable that nobody awaits.
            here: called with the fiber and the arguments in a `def` workflow: waits, and gives the value.
            awaited: likewise in an `async def` one: gives what the code awaits.
        """
        ...

    def settle(self, operation: Operation, what: str) -> Awaitable[None]:
        """Wait for an operation, in a `def` workflow here and now; an `async def` one awaits what is returned."""
        ...

    def follow(self, steps: Iterable[Callable[[], bool]]) -> Awaitable[None]:
        """Likewise for one condition after another; what lies between them runs when its time has come."""
        ...

    def note(self, made: Any, what: str) -> None:
        """Of an awaitable that code was given: if nobody awaits it, that is to be told of."""
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
