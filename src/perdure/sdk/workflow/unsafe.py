"""`workflow.unsafe`."""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Generator
from contextlib import contextmanager

from perdure.sdk.replay.running import lift_guard, lower_guard, running


class Unsafe:
    """For those who know better than the guard: `workflow.unsafe`."""

    @staticmethod
    @contextmanager
    def unguarded() -> Generator[None]:
        """Within, the guard is off. What is done there must not change what the workflow asks for."""
        machine = running.get(get_ident())
        if machine is None:
            yield
            return
        lift_guard(machine)
        try:
            yield
        finally:
            lower_guard(machine)
