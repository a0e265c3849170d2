"""Decisions that do much, in steps: between two of them the shell may serve others.

An answer may have fifty thousand commands, a reset as many events to copy, at some ten microseconds each. Where such
things are gone through is a generator that yields after every `STEP` of them and returns its result; whoever has no
need of steps runs it to its end. Nothing of a decision is seen before its end: until then nobody but the generator
may look at the execution.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

Result = TypeVar("Result")
Steps: TypeAlias = Generator[None, None, Result]

STEP = 250
"""Commands, or events, of one step: a few milliseconds."""


def finish(steps: Steps[Result]) -> Result:
    """All of them in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
