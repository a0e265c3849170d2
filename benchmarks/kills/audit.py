"""The store, seen from outside, against the ledger and the file of effects."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from benchmarks.kills.clients import KINDS, SIGNALS, UPDATES, Ledger, messages_under_way
from benchmarks.kills.programs import END, STEPS, breaks_at
from perdure.stores.folding import differences, fold
from perdure.stores.reading import StoreFile

SAID = [*range(SIGNALS), END]
HELPERS = {"relay": ["target"], "family": ["kid-0", "kid-1", "sleeper", "ear", "chain", "canceller"]}


@dataclass(slots=True)
class Audit:
    """What was found."""

    workflows: int = 0
    runs: int = 0
    signals: int = 0
    updates: int = 0
    effects: int = 0
    repeated_effects: int = 0
    """Attempts whose result was lost: the same key again."""
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.workflows:,} workflows in {self.runs:,} runs: {self.signals:,} signals, {self.updates:,} updates "
            f"acknowledged, {self.effects:,} effects ({self.repeated_effects} tried again under the same key)"
        )


@dataclass(slots=True)
class Seen:
    """What the histories of one workflow id say, of all its runs."""

    chains: set[str] = field(default_factory=set)
    open_runs: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)
    results: list[Any] = field(default_factory=list)
    """Of runs that completed; "failed" or "cancelled" of the others, nothing of those that continued as new."""


def audit(directory: Path, workflows: int) -> Audit:
    """Everything; there must be no problem."""
    found = Audit()
    seen = read(directory, found)
    ledger = Ledger(directory / "ledger", read_only=True)
    check_requests(ledger, seen, found)
    for index in range(workflows):
        for kind in KINDS:
            for problem in check_workflow(f"{kind}-{index}", kind, index, seen):
                found.problems.append(f"{kind}-{index}: {problem}")
    expected = {name for index in range(workflows) for name in ids_of(index)}
    found.problems += [f"{name} is there and was not asked for" for name in sorted(seen.keys() - expected)]
    check_effects(directory / "effects", workflows, found)
    if left := messages_under_way(directory):
        found.problems.append(f"{left} messages are in the outbox and will never leave it")
    return found


def ids_of(index: int) -> Iterator[str]:
    for kind in KINDS:
        yield f"{kind}-{index}"
    yield f"target-{index}"
    for helper in HELPERS["family"]:
        yield f"family-{index}-{helper}"


def read(directory: Path, found: Audit) -> dict[str, Seen]:
    """By workflow id; every stored state is also compared with what its history folds to."""
    seen: dict[str, Seen] = defaultdict(Seen)
    with StoreFile(f"sqlite:///{directory / 'kills.db'}") as store:
        for summary in store.executions():
            key = summary.key
            events = store.history(key)
            stored = store.load(key.workflow_id, key.run_id)
            if stored is None or (wrong := differences(stored, fold(key, events))):
                found.problems.append(f"{key.workflow_id}: the stored state is not what its history says: {wrong}")
                continue
            of_id = seen[key.workflow_id]
            of_id.chains.add(stored.first_run_id)
            of_id.open_runs += stored.is_open
            for event in events:
                look(of_id, event)
            found.runs += 1
    found.workflows = len(seen)
    return seen


def look(seen: Seen, event: HistoryEvent) -> None:
    kind = event.event_type
    if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
        seen.signals[event.workflow_execution_signaled_event_attributes.request_id] += 1
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
        seen.accepted[event.workflow_execution_update_accepted_event_attributes.protocol_instance_id] += 1
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
        seen.completed[event.workflow_execution_update_completed_event_attributes.meta.update_id] += 1
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        payloads = event.workflow_execution_completed_event_attributes.result.payloads
        seen.results.append(json.loads(payloads[0].data))
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        seen.results.append("failed")
    elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
        seen.results.append("cancelled")


def check_requests(ledger: Ledger, seen: dict[str, Seen], found: Audit) -> None:
    """Acknowledged means once; sent, at most once."""
    for word in ("acked", "accepted", "sent"):
        for key in ledger.entries[word]:
            of_id = seen.get(key.partition("/")[0]) or Seen()
            is_update = key.startswith(("account", "opened")) and not key.endswith(str(END))
            counts = [of_id.accepted[key], of_id.completed[key]] if is_update else [of_id.signals[key]]
            if any(count > 1 for count in counts) or (word != "sent" and 0 in counts):
                found.problems.append(f"{key} is {word} and {counts} times in history")
            if word == "acked":
                found.updates += is_update
                found.signals += not is_update


def check_workflow(name: str, kind: str, index: int, seen: dict[str, Seen]) -> Iterator[str]:
    """One chain, closed, with the one result that it must have."""
    for one in [name, *(helper_id(name, kind, index, helper) for helper in HELPERS.get(kind, ()))]:
        of_id = seen.get(one)
        if of_id is None:
            yield f"{one} is not there"
            return
        if of_id.open_runs or len(of_id.chains) != 1 or len(of_id.results) != 1:
            yield f"{one}: {len(of_id.chains)} chains, {of_id.open_runs} open, results {of_id.results}"
            return
    [result] = seen[name].results
    expected = expected_result(name, kind, index)
    in_any_order = kind == "actor" or (index % 2 and isinstance(result, list) and kind != "family")
    if (sorted(result) if in_any_order else result) != (sorted(expected) if in_any_order else expected):
        yield f"result {result}, not {expected}"
    if kind == "relay" and sorted(seen[f"target-{index}"].results[0]) != sorted(SAID):
        yield f"its target was told {seen[f'target-{index}'].results[0]}"


def helper_id(name: str, kind: str, index: int, helper: str) -> str:
    return f"target-{index}" if kind == "relay" else f"{name}-{helper}"


def expected_result(name: str, kind: str, index: int) -> Any:
    if kind in ("account", "opened"):
        return list(range(UPDATES))
    if kind == "relay":
        return len(SAID)
    if kind == "saga":
        return "done" if breaks_at(index) == STEPS else "failed"
    if kind == "family":
        return ["cancelled", "CancelledError", f"{name}-kid-0", f"{name}-kid-1", f"[7, {END}]", "1"]
    return SAID


def check_effects(path: Path, workflows: int, found: Audit) -> None:
    """Each effect has one key; those of a saga come in order, and are undone in reverse."""
    by_key: dict[str, str] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        key, what = line.split()
        if by_key.setdefault(key, what) != what:
            found.problems.append(f"the key {key} stands for {by_key[key]} and for {what}")
        found.repeated_effects += 1
    found.repeated_effects -= len(by_key)
    found.effects = len(by_key)
    happened = Counter(by_key.values())
    found.problems += [f"the effect {what} happened {count} times" for what, count in happened.items() if count > 1]
    of_saga: dict[int, list[str]] = defaultdict(list)
    others: set[str] = set()
    for what in by_key.values():
        word, _, rest = what.partition("-")
        if word in ("do", "undo"):
            order, number = rest.split("-")
            of_saga[int(order)].append(f"{word} {number}")
        else:
            others.add(what)
    for index in range(workflows):
        if of_saga[index] != saga_of(index):
            found.problems.append(f"saga-{index} did {of_saga[index]}, not {saga_of(index)}")
    expected = {what for index in range(workflows) for what in effects_of(index)}
    found.problems += [f"the effect {what} never happened" for what in sorted(expected - others)]
    found.problems += [f"nobody asked for the effect {what}" for what in sorted(others - expected)]


def saga_of(order: int) -> list[str]:
    broken = breaks_at(order)
    done = [f"do {number}" for number in range(broken)]
    return done if broken == STEPS else done + [f"undo {number}" for number in reversed(range(broken))]


def effects_of(index: int) -> Iterator[str]:
    yield from (f"actor-{index}-{number}" for number in SAID)
    yield from (f"{kind}-{index}-{number}" for kind in ("account", "opened") for number in range(UPDATES))
    yield from (f"family-{index}-{what}" for what in ("kid-0", "kid-1", "chain-0", "chain-1"))
