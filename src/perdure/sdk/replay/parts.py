"""What a run may have besides its code: an inbox, and local activities. Most runs have neither.

Both know the run that they belong to, so the run, which is the ground they stand on, knows no more than what it asks
of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from temporalio.api.protocol.v1 import Message

from perdure.sdk.declare.callables import Shape
from perdure.sdk.replay.carrying import Signal, Signals
from perdure.sdk.replay.local_work import LocalWork, Report
from perdure.sdk.replay.outcome import TaskOutcome


class HandlerView(Protocol):
    """What a run knows of a handler (`sdk/declare/handlers.py`)."""

    fn: Callable[..., Any]
    name: str | None
    unfinished: Any

    @property
    def shape(self) -> Shape: ...

    def bind(self, instance: Any) -> Callable[..., Any]: ...

    def bind_validator(self, instance: Any) -> Callable[..., Any] | None: ...


Shelf = dict[str | None, Any]
"""Handlers of one kind, by name."""


class InboxView(Protocol):
    """What is asked of a run's messages and handlers (`inbox.py`)."""

    instance: Any
    """The workflow's object, of a class."""
    signals: Shelf
    queries: Shelf
    updates: Shelf
    kept: list[Signal]
    """Signals that nobody took yet."""
    running: dict[object, str]
    """Handlers that have not ended, as a person would name them."""

    def begin(self) -> Any:
        """Call the object's run method: its value, or a coroutine."""
        ...

    def requested(self, messages: Sequence[Message]) -> None:
        """The messages of the workflow task that is to be answered."""
        ...

    def untaken(self) -> Signals:
        """Signals that nobody took."""
        ...

    def deliver(self) -> None:
        """Before the code resumes: begin the handlers of what came."""
        ...

    def settle(self) -> None:
        """After the code has run: reject the updates that still have no handler."""
        ...

    def conclude(self, outcome: TaskOutcome) -> None:
        """Of a task that is to be answered: what else there is to say of its messages and handlers."""
        ...


class LocalsView(Protocol):
    """What is asked of a run's local activities (`local_activity.py`)."""

    activation: int
    """How often the code ran in the workflow task at hand, less one."""
    task: Any
    """The workflow task that is not answered yet."""

    @property
    def open(self) -> Mapping[int, object]:
        """The local activities that have not ended, by number."""
        ...

    def work(self, *, urgent: bool, task_timeout_ns: int) -> LocalWork:
        """What is new to the worker."""
        ...

    def apply(self, report: Report) -> None:
        """Outcomes of the worker: each is an activation of its own."""
        ...

    def replay(self, *, first: bool) -> None:
        """The recorded outcomes of the task at hand, in the order of their markers."""
        ...
