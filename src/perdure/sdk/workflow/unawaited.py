"""What an `async def` workflow asked for and never awaited: `workflow.sleep("3s")` without `await` does nothing.

Each such awaitable is noted as it is made, with the line that made it. When the code has ended, what nobody has
begun to await, and no task still has in hand, fails the workflow task. That is asked of the awaitables' own state, so
that it is the same in each process, whenever garbage is collected. What was cancelled or given to a task is awaited.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Generator, Iterable, Mapping
from functools import partial
from types import CodeType, CoroutineType, FrameType
from typing import Any, TypeVar, cast

from perdure.sdk.errors import EngineError
from perdure.sdk.replay.entry import Operation, is_user_frame, site_text
from perdure.sdk.replay.run import Run
from perdure.sdk.workflow.handles import Handle, handle_of

A = TypeVar("A", bound=Awaitable[Any])


class Unawaited:
    """The awaitables of one run that may not have been awaited yet."""

    __slots__ = ("_limit", "_noted")

    def __init__(self) -> None:
        self._noted: list[tuple[Any, str, tuple[CodeType, int] | None]] = []
        self._limit = 16

    def note(self, made: Any, what: str) -> None:
        """`made` is about to be given to workflow code, which knows it as `what`."""
        noted = self._noted
        # This, the fiber's `note`, `noted` or the fiber's `carry`, and who calls that are ours. A frame's line is
        # searched for, so only when it is asked for.
        frame: FrameType | None = sys._getframe(4)  # pyright: ignore[reportPrivateUsage] - the documented way
        while frame is not None and not is_user_frame(frame):
            frame = frame.f_back
        noted.append((made, what, frame and (frame.f_code, frame.f_lasti)))
        if len(noted) > self._limit:
            self._noted = [one for one in noted if _is_untouched(one[0])]
            self._limit = 2 * len(self._noted) + 16

    def error(self, tasks: Iterable[asyncio.Task[Any]]) -> EngineError | None:
        """What to say of those that are left, when the code has ended with these tasks; None when there are none."""
        left = [one for one in self._noted if _is_untouched(one[0])]
        if left:
            in_hand = _in_hand(tasks)
            left = [one for one in left if id(one[0]) not in in_hand]
        if not left:
            return None
        _, what, place = left[0]
        others = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        return EngineError(f"{what}(...) at {_text(place)} was never awaited: write `await {what}(...)`{others}")

    def drop(self) -> None:
        """Forget them all. Python is not to warn of those that nobody awaited."""
        noted, self._noted = self._noted, []
        for made, _, _ in noted:
            if type(made) is CoroutineType and _is_untouched(made):
                cast(Any, made).close()


class Told(Handle[None]):
    """A message to another workflow, under way: sent at once, and to be awaited."""

    __slots__ = ("attended",)

    attended: bool

    def __await__(self) -> Generator[Any, None, None]:
        self.attended = True
        return super().__await__()

    __iter__ = __await__

    def add_done_callback(self, fn: Any, /, *, context: Any = None) -> None:
        """As a future's; asyncio's gather and wait come here."""
        self.attended = True
        super().add_done_callback(fn, context=context)

    def cancel(self, msg: Any = None) -> bool:
        """As a handle's."""
        self.attended = True
        return super().cancel(msg)


def told(machine: Run, operation: Operation, what: str) -> Told:
    """The handle of a message that has just been sent by an `async def` workflow."""
    handle = handle_of(machine, operation, Told)
    handle.attended = False
    return noted(machine, what, handle)


def noted(machine: Run, what: str, made: A) -> A:
    """The awaitable itself, noted. In a `def` workflow it is one that has happened already."""
    machine.fiber.note(made, what)
    return made


def _is_untouched(made: Any) -> bool:
    if type(made) is CoroutineType:  # as inspect.getcoroutinestate, without its cost
        return made.cr_frame is not None and not made.cr_suspended and not made.cr_running
    return not made.attended


def _text(place: tuple[CodeType, int] | None) -> str:
    """Of an instruction of workflow code: its line as a site's text."""
    if place is None:
        return site_text(None)
    code, offset = place
    lines = [line for begin, end, line in code.co_lines() if begin <= offset < end and line is not None]
    return site_text((code, lines[0] if lines else code.co_firstlineno))


def _in_hand(tasks: Iterable[asyncio.Task[Any]]) -> set[int]:
    """The ids of what tasks that have not ended run, await, or hold in variables, to await it one day."""
    todo: list[Any] = [task.get_coro() for task in tasks if not task.done()]
    seen: set[int] = set()
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if type(thing) is CoroutineType:
            todo.append(thing.cr_await)
            if thing.cr_frame is not None:
                todo.extend(thing.cr_frame.f_locals.values())
        elif type(thing) is partial:
            todo += (*thing.args, *thing.keywords.values())
        elif isinstance(thing, (tuple, list, set, frozenset)):
            todo.extend(cast(Iterable[Any], thing))
        elif isinstance(thing, Mapping):
            todo.extend(cast(Mapping[Any, Any], thing).values())
    return seen
