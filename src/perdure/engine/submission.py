"""What is put to a run: a command of the law, or what the shell asks in the run's turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from perdure.core.commands import Command
from perdure.core.execution import Execution


class Age(Enum):
    """How old a state may be that is looked at, where other nodes write to the store too."""

    NOW = 0
    """It is what the store holds."""
    ENDED = 1
    """What is in memory will do of the run that is named, once it has closed: it does not change any more."""
    TOLD = 2
    """As ENDED; of an open one too, unless news may have been lost since: whoever looks waits for news from here on."""


@dataclass(slots=True, frozen=True)
class Read:
    """Look at a run in its turn, when nothing of it is in flight: `look` sees durable state, or None.

    `look` must neither change nor keep what it is given.
    """

    look: Callable[[Execution | None], Any]
    age: Age = Age.NOW


@dataclass(slots=True, frozen=True)
class InTransaction:
    """Have a user's function write in the transaction in which the command is committed.

    The reply: True, both are durable; False, `work` said that nothing is to be kept.
    """

    command: Command
    work: Callable[[Any], bool]
    """Given the user's side of the store's transaction, in any thread; must not raise. Perhaps called again."""


class Submit(Protocol):
    """`Mailboxes.submit`."""

    def __call__(
        self, namespace: str, workflow_id: str, run_id: str | None, command: Command | Read, /
    ) -> asyncio.Future[Any]: ...
