"""`workflow.shield()`: clean-up that a cancellation of the run does not interrupt, and `workflow.ends_run`."""

from __future__ import annotations

import asyncio
from contextvars import Token
from types import TracebackType
from typing import Any

from perdure.sdk.errors import FailureError
from perdure.sdk.option_names import lists_options
from perdure.sdk.replay.completion import fails_run
from perdure.sdk.replay.entry import SCOPE
from perdure.sdk.replay.fiber import Fiber
from perdure.sdk.replay.running import WorkflowClosed, current


class Shield:
    """A block that is not interrupted. Made by `workflow.shield()`."""

    def __init__(self, fiber: Fiber) -> None:
        self._fiber = fiber
        self._mark: Any = None
        self._token: Token[Any] | None = None

    def __enter__(self) -> None:
        self._mark = self._fiber.shield()
        self._token = SCOPE.set(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (WorkflowClosed, GeneratorExit)):
            return  # dropped from the cache: that runs in another context, and nothing comes behind
        assert self._token is not None, "it was entered"
        SCOPE.reset(self._token)
        self._fiber.unshield(self._mark)


@lists_options
class Shielding:
    """A part of `workflow`."""

    @staticmethod
    def shield() -> Shield:
        """Within, a cancellation (of the run, of a scope around it) is held back, and raised at the next wait behind.

            with workflow.shield():
                call(release, order)         # or: await start(release, order)

        In an `async def` workflow it holds for the task that is in the block, and what is awaited by it.
        """
        return Shield(current("workflow.shield()").fiber)

    @staticmethod
    def ends_run(error: BaseException) -> bool:
        """Whether an error that leaves the workflow's function ends the run, failed or cancelled.

        False: it is a bug, and fails the workflow task alone, so that mended code can go on.
        """
        machine = current("workflow.ends_run()")
        kinds = (FailureError, TimeoutError, asyncio.CancelledError, *machine.definition.fail_on)
        return fails_run(error, kinds)
