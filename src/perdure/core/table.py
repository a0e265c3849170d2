"""Transition tables: what may happen to an entity, as data.

A table maps (state, trigger) to the next state. A missing key is the error: nothing else forbids
a transition. Tests watch a table to prove that each of its transitions is exercised, and the
diagrams in `docs/transitions.md` are drawn from the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Generic, TypeVar

State = TypeVar("State", bound=IntEnum)
Trigger = TypeVar("Trigger", bound=IntEnum)


class IllegalTransition(Exception):
    """The law tried a transition that its own table does not have: a bug, never a caller's mistake."""


class Table(Generic[State, Trigger]):
    """The transitions of one entity.

    Attributes:
        watch: called with every (state, trigger) taken; None unless a test looks on.
    """

    __slots__ = ("initial", "name", "transitions", "watch")

    def __init__(self, name: str, initial: State, transitions: Mapping[tuple[State, Trigger], State]) -> None:
        self.name = name
        self.initial = initial
        self.transitions = dict(transitions)
        self.watch: set[tuple[State, Trigger]] | None = None

    def allows(self, state: int, trigger: Trigger) -> bool:
        """Whether the trigger may happen in this state (given by its number, as snapshots hold it)."""
        return (state, trigger) in self.transitions

    def next(self, state: int, trigger: Trigger) -> State:
        """The state after. Raises IllegalTransition when the table has no such key."""
        try:
            following = self.transitions[state, trigger]  # type: ignore[index]  # an IntEnum equals its number
        except KeyError:
            raise IllegalTransition(f"{self.name}: {trigger.name} in state {state}") from None
        if self.watch is not None:
            self.watch.add((state, trigger))  # type: ignore[arg-type]  # an IntEnum equals its number
        return following
