"""A history replayed under changed code: every change is caught, with event, command and line named."""

from __future__ import annotations

import linecache

import pytest

from perdure.sdk.errors import NonDeterminismError
from perdure.sdk.replay.machine import WorkflowMachine
from tests.sdk.replay import mutants, stored
from tests.sdk.replay.given import CONVERTER
from tests.sdk.replay.mutants import MUTANTS, Mutant


def replay(mutant: Mutant) -> NonDeterminismError:
    machine = WorkflowMachine(mutant.code, CONVERTER, namespace="default", task_queue="q")
    outcome = machine.process(stored.task_of(stored.load(mutant.history)))
    machine.close()
    assert isinstance(outcome.error, NonDeterminismError), outcome
    assert outcome.commands == []
    assert outcome.failure is not None
    assert outcome.failure.message == str(outcome.error)
    assert outcome.failure.application_failure_info.type == "NonDeterminismError"
    return outcome.error


def test_there_are_at_least_twenty_mutants() -> None:
    assert len([m for m in MUTANTS if m.history == "order_sync"]) >= 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.history}: {m.what}")
def test_a_mutant_is_caught_and_event_command_and_line_are_named(mutant: Mutant) -> None:
    message = str(replay(mutant))
    event, in_history = mutant.event.split("|")
    head, history, code, *advice = message.splitlines()
    assert head == f"history and code disagree at {event}."
    assert in_history in history
    assert mutant.instead in code
    path, line = code.split(" at ")[-1].split(" in ")[0].rsplit(":", 1)
    assert path == mutants.__file__
    assert linecache.getline(path, int(line)).rstrip().endswith("# HERE")
    assert "Deploy the code that wrote this history" in advice[0]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.history}: {m.what}")
def test_it_is_caught_wherever_the_stored_history_happens_to_end(mutant: Mutant) -> None:
    """From the event named on, every longer prefix is refused; shorter ones cannot know yet."""
    events = stored.load(mutant.history)
    at = int(mutant.event.split("|")[0].removeprefix("event "))
    for end in stored.task_ends(events):
        machine = WorkflowMachine(mutant.code, CONVERTER, namespace="default", task_queue="q")
        outcome = machine.process(stored.task_of(events[:end]))
        machine.close()
        if end > at:
            assert isinstance(outcome.error, NonDeterminismError), (end, outcome)


def test_unchanged_code_is_not_caught() -> None:
    from tests.sdk.replay.orders import order_async, order_sync

    for code in (order_sync, order_async):
        machine = WorkflowMachine(code, CONVERTER, namespace="default", task_queue="q")
        outcome = machine.process(stored.task_of(stored.load(code.name)))
        machine.close()
        assert outcome.failure is None
