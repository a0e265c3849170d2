"""What a play needs of its stage: the real Temporal server, or the law alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from temporalio.api.command.v1 import Command
from temporalio.api.failure.v1 import Failure
from temporalio.api.protocol.v1 import Message


class Stage(Protocol):
    """A server, or the law alone. Tokens are opaque."""

    refusals: list[str]
    tasks: list[dict[str, Any]]
    """What workers were told of each task that they were given, as `plain` writes it."""

    def start(self, **fields: Any) -> None: ...
    def workflow_task(self, queue: str = "queue") -> Any: ...
    def activity_task(self, activity_id: str = "1") -> Any: ...
    def complete_task(
        self,
        token: Any,
        *commands: Command,
        sticky: bool = False,
        force: bool = False,
        messages: Sequence[Message] = (),
    ) -> None:
        """`messages` that need a command get one, before the other commands."""
        ...

    def update(self, update_id: str) -> None:
        """Ask for an update; `updates` keeps what becomes of it, by its id."""
        ...

    def message(self, update_id: str) -> Message:
        """What the worker of the newest workflow task was told of an update."""
        ...

    def refused_task(self, token: Any, *commands: Command, messages: Sequence[Message] = ()) -> None:
        """Complete with commands that are refused; `refusals` keeps the code and the message."""
        ...

    def fail_task(self, token: Any) -> None: ...
    def complete_activity(self, token: Any) -> None: ...
    def fail_activity(self, token: Any, why: Failure) -> None: ...
    def report_canceled(self, token: Any) -> None: ...
    def heartbeat(self, token: Any) -> bool: ...
    def cancel(self) -> None: ...
    def terminate(self) -> None: ...
    def elapse(self, seconds: float) -> None: ...
