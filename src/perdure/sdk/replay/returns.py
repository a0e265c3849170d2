"""Finds the line at which workflow code returned. Used when it returned too early, and only then.

A profile hook sees every return, at a price; so a replay is watched by it only when it is already
known to end in a NonDeterminismError that wants that line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from perdure.sdk.replay.entry import Site


class ReturnWatch:
    """Runs code and keeps the line at which one function last returned."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._code = getattr(fn, "__code__", None)
        self.site: Site | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Run `work` watched; what it raises is raised."""
        outer = sys.getprofile()
        sys.setprofile(self._saw)
        try:
            work()
        finally:
            sys.setprofile(outer)

    def _saw(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "return" and frame.f_code is self._code:
            self.site = frame.f_code, frame.f_lineno
