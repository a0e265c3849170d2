"""`workflow.shield()`: clean-up that a cancellation of the run does not interrupt, and `workflow.ends_run`."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from perdure.sdk.errors import FailureError
from perdure.sdk.replay.completion import fails_run
from perdure.sdk.replay.running import current


class Shielding:
    """A part of `workflow`."""

    @staticmethod
    @contextmanager
    def shield() -> Generator[None]:
        """Within, a cancellation of the run is held back; it is raised where the code waits next behind the block.

            with workflow.shield():
                call(release, order)         # or: await start(release, order)

        In an `async def` workflow it holds for the task that is in the block, and what is awaited by it.
        """
        fiber = current("workflow.shield()").fiber
        mark = fiber.shield()
        try:
            yield
        finally:
            fiber.unshield(mark)

    @staticmethod
    def ends_run(error: BaseException) -> bool:
        """Whether an error that leaves the workflow's function ends the run, failed or cancelled.

        False: it is a bug, and fails the workflow task alone, so that mended code can go on.
        """
        machine = current("workflow.ends_run()")
        kinds = (FailureError, TimeoutError, asyncio.CancelledError, *machine.definition.fail_on)
        return fails_run(error, kinds)
