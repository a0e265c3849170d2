"""What all kinds of commands have in common.

An `Entry` is one command that the code asked for: the message to be sent (live), or what it would
have been (replay: nothing is encoded, for history has it already). An `Operation` is an entry that
also ends one day, with a value or an error, and tells whoever waits for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, ClassVar, Final

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.errors import EngineError

Site = tuple[CodeType, int]
"""A line of workflow code, not yet made into text."""

_OURS = "perdure.sdk."
_CARRIERS = frozenset(("asyncio", "contextlib", "concurrent", "functools"))


def is_user_frame(frame: FrameType) -> bool:
    """Whether a frame is workflow code, and neither this SDK nor what carries coroutines."""
    name = str(frame.f_globals.get("__name__", ""))  # of code that was made by exec, anything
    return not name.startswith(_OURS) and name.partition(".")[0] not in _CARRIERS


def site_of(frame: FrameType | None) -> Site | None:
    """The nearest line of workflow code, from `frame` outwards."""
    while frame is not None:
        if is_user_frame(frame):
            return frame.f_code, frame.f_lineno
        frame = frame.f_back
    return None


def current_site() -> Site | None:
    """The line of workflow code that is calling us."""
    return site_of(sys._getframe(1))  # pyright: ignore[reportPrivateUsage] - the documented way, inspect costs 100 times more


def site_text(site: Site | None) -> str:
    """`file:line in function`; an empty text when it is not known."""
    return "" if site is None else f"{site[0].co_filename}:{site[1]} in {site[0].co_qualname}"


COMMANDS_MAX = 10_000
"""Of one workflow task. No server takes so many at once; a run's whole history has 51,200 events."""


def greed() -> EngineError:
    """What is said to code that asks for more, before all of it is made, sent, and refused."""
    return EngineError(
        f"workflow code asks for more than {COMMANDS_MAX:,} activities, timers and the like in one workflow task; "
        "servers take 2,000 of a kind at once: start them in portions and wait for each, or share them out to "
        "child workflows"
    )


COMMAND_EVENTS: Final[set[EventType.ValueType]] = {
    EventType.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED,
    EventType.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED,
}
"""Each is what one command became, in the order of the commands. Kinds of entries add theirs; those written here have
none: other SDKs' code asked for them."""


class Entry:
    """One command of the code, waiting for the event that it made.

    Attributes:
        command: the message, None while replaying.
        site: where in the workflow code, None unless replaying.
    """

    __slots__ = ("command", "site")

    event_types: ClassVar[tuple[EventType.ValueType, ...]] = ()
    """The events that this kind of command makes."""

    def __init_subclass__(cls) -> None:
        COMMAND_EVENTS.update(cls.event_types)

    def __init__(self) -> None:
        self.command: Command | None = None
        self.site: Site | None = None

    def accept(self, event: HistoryEvent) -> bool:
        """Whether the event, one of `event_types`, is this command's; if so, take note of it."""
        raise NotImplementedError

    def describe(self) -> str:
        """The command as a person would name it, e.g. `activity charge_payment (id 1)`."""
        raise NotImplementedError

    def place(self, returned: Site | None) -> Site | None:
        """Where the code asked for it; `returned`: where its function returned, as far as that is known."""
        return self.site


SCOPE: ContextVar[Any] = ContextVar("perdure_scope", default=None)
"""The innermost scope (`sdk/workflow/scopes.py`) that code is in; it is told of what is begun."""


class Operation(Entry):
    """An entry that ends: `done`, then `value` or `error`. `listener` is told once.

    Attributes:
        given_up: the code itself has cancelled it by its handle: that it ends so says nothing of the code's own
            cancellation.
    """

    __slots__ = ("done", "error", "given_up", "listener", "value")

    def __init__(self) -> None:
        self.command = None
        self.site = None
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.given_up = False
        self.listener: Callable[[Operation], None] | None = None
        scope = SCOPE.get()
        if scope is not None:
            scope.adopt(self)

    def resolve(self, value: Any) -> None:
        """The operation ended well."""
        self.done = True
        self.value = value
        if self.listener is not None:
            self.listener(self)

    def reject(self, error: BaseException) -> None:
        """The operation ended badly."""
        self.done = True
        self.error = error
        if self.listener is not None:
            self.listener(self)

    def cancel(self) -> bool:
        """Ask it to end. True when it has ended by that; False when it ends later, or had ended."""
        raise NotImplementedError

    @property
    def is_canceling(self) -> bool:
        """Whether it was asked to end and is waited for until it has."""
        return False

    def result(self) -> Any:
        """Of a done operation. Raises its error."""
        if self.error is not None:
            raise self.error
        return self.value
