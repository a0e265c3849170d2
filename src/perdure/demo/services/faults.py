"""How a service misbehaves on request: armed over HTTP, drawn per call.

A fault strikes before the action (`slow`, `down`) or after it is durable (`hold_answer`, `hang_up_after`,
`die_after`). The second kind is the cruel one: the money has moved and the caller cannot know.
"""

from __future__ import annotations

import random
import threading
from typing import Literal

import msgspec

Kind = Literal["slow", "down", "hold_answer", "hang_up_after", "die_after"]
BEFORE: frozenset[Kind] = frozenset({"slow", "down"})


class Fault(msgspec.Struct, frozen=True):
    """An order to misbehave.

    Attributes:
        kind: `slow`: wait `seconds`, then act. `down`: answer 503. `hold_answer`: act, then wait `seconds`
            before answering. `hang_up_after`: act, then close the connection. `die_after`: act, then
            SIGKILL the service's own process.
        path: the action it applies to (`/charge`); empty: every action.
        calls: how many calls it strikes; None: until healed.
        probability: chance that it strikes a call, drawn from `seed`.
        seconds: for `slow` and `hold_answer`.
    """

    kind: Kind
    path: str = ""
    calls: int | None = None
    probability: float = 1.0
    seed: int = 0
    seconds: float = 0.0


class _Armed:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.calls
        self._random = random.Random(fault.seed)

    def strikes(self, path: str) -> bool:
        if self.left == 0 or self.fault.path not in ("", path):
            return False
        if self._random.random() >= self.fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """The faults armed now, and the calls that they hold."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._healed = threading.Event()
        self._held = 0

    def arm(self, fault: Fault) -> None:
        """Misbehave so from the next call on."""
        with self._lock:
            self._armed.append(_Armed(fault))

    def heal(self) -> None:
        """Forget every fault and let held calls go on."""
        with self._lock:
            self._armed.clear()
            self._healed.set()
            self._healed = threading.Event()

    def draw(self, path: str, *, before: bool) -> Fault | None:
        """The fault that strikes this call before (or after) it acts."""
        with self._lock:
            for armed in self._armed:
                if (armed.fault.kind in BEFORE) == before and armed.strikes(path):
                    return armed.fault
        return None

    def hold(self, seconds: float) -> None:
        """Keep the calling thread waiting for so long, or until healed."""
        with self._lock:
            self._held += 1
            healed = self._healed
        try:
            healed.wait(seconds)
        finally:
            with self._lock:
                self._held -= 1

    @property
    def held(self) -> int:
        """How many calls are being kept waiting now."""
        with self._lock:
            return self._held
