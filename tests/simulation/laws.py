"""What must hold of every commit that reaches a store, whoever decided it.

Folding a commit's events over the state before gives the state after, in every field but three:
`facts` is decided, not folded; `version` counts commits; `wake_at_ns` may lag behind, early.
"""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.history.v1 import HistoryEvent

from perdure.core.commit import Commit
from perdure.core.execution import Execution, decode, encode, evolve
from perdure.core.fold import blank
from perdure.core.invariants import check as check_invariants

NOT_FOLDED = {"facts", "version", "wake_at_ns"}


class LawBroken(AssertionError):
    """A commit, or a history, is not what the law allows."""


def folded_fields(execution: Execution) -> dict[str, object]:
    """What history alone decides of a state."""
    return {name: getattr(execution, name) for name in execution.__struct_fields__ if name not in NOT_FOLDED}


def check_fold(before: Execution | None, commit: Commit) -> None:
    """Folding the events over `before`, which this changes, gives the commit's state. Raises LawBroken."""
    after = commit.execution
    if after is None or (before.version if before else 0) != commit.expected_version:
        return  # the store will refuse it: it was decided on a state that is not the stored one
    if after.version != commit.expected_version + 1:
        raise LawBroken(f"version {after.version} follows {commit.expected_version}")
    stated = decode(encode(after))
    _check_same(_fold(before or blank(commit.key), commit.events), stated, commit)
    check_invariants(stated)
    if commit.next_run is not None:
        check_fold(None, commit.next_run)


def check_history(stored: Execution, events: Iterable[HistoryEvent]) -> None:
    """Folding the whole history gives the stored state. Raises LawBroken."""
    _check_same(_fold(blank(stored.key), events), stored, None)


def _fold(state: Execution, events: Iterable[HistoryEvent]) -> Execution:
    for event in events:
        evolve(state, event)
    return state


def _check_same(folded: Execution, stated: Execution, commit: Commit | None) -> None:
    one, other = folded_fields(folded), folded_fields(stated)
    wrong = [f"{name}: folded {one[name]!r}, stored {other[name]!r}" for name in one if one[name] != other[name]]
    if wrong:
        where = f"commit of version {commit.expected_version + 1}" if commit else "whole history"
        raise LawBroken(f"{stated.key.workflow_id}, {where}: " + "; ".join(wrong))
