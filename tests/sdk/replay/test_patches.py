"""Versions of workflow code: what the markers say, which path a run takes, and what may be removed when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import WorkflowTaskFailedCause

from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import EngineError, NonDeterminismError
from perdure.sdk.replay.entry import COMMAND_EVENTS
from perdure.sdk.replay.outcome import TaskOutcome
from perdure.sdk.replay.patch import CHANGE_VERSIONS_BYTES_MAX
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, b, version_of, x
from tests.sdk.replay.stored import load, task_ends, task_of

NON_DETERMINISTIC = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR


@version_of("before")
def before() -> None:
    call(a)
    call(b)


@version_of("before")
def gated() -> None:
    call(a)
    call(x if workflow.patched("to-x") else b)


@version_of("before")
async def gated_async() -> None:
    await start(a)
    await start(x if workflow.patched("to-x") else b)


@version_of("before")
def ungated() -> None:
    call(a)
    call(x)


@version_of("before")
def deprecated() -> None:
    call(a)
    workflow.deprecate_patch("to-x")
    call(x)


def old() -> History:
    """Written by `before`, up to the task in which it waits for b."""
    return History(before).task().done().scheduled("a").completed("1").task().done().scheduled("b", "2")


def patched(*, deprecated: bool = False, upserts: bool = True) -> History:
    """Written by `gated` (or `deprecated`)."""
    history = History(before).task().done().scheduled("a").completed("1").task().done()
    history.patch("to-x", deprecated=deprecated)
    if upserts:
        history.change_versions("to-x")
    return history.scheduled("x", "2")


def error_of(outcome: TaskOutcome) -> NonDeterminismError:
    assert outcome.cause == NON_DETERMINISTIC
    assert isinstance(outcome.error, NonDeterminismError)
    return outcome.error


@pytest.mark.parametrize("code", [gated, gated_async])
def test_a_new_run_takes_the_new_path_and_says_so(code: AnyWorkflow) -> None:
    history = History(code).task().done().scheduled("a").completed("1").task()
    outcome = history.cold()
    assert texts(outcome.commands) == [
        'marker core_patch patch-data={"id":"to-x","deprecated":false}',
        'upsert TemporalChangeVersion ["to-x"]',
        "schedule x() as 2",
    ]
    marker = outcome.commands[0].record_marker_command_attributes.details["patch-data"].payloads[0]
    assert dict(marker.metadata) == {"encoding": b"json/plain"}
    fields = outcome.commands[1].upsert_workflow_search_attributes_command_attributes.search_attributes.indexed_fields
    assert dict(fields["TemporalChangeVersion"].metadata) == {"encoding": b"json/plain", "type": b"KeywordList"}


@pytest.mark.parametrize("code", [gated, gated_async])
def test_each_run_stays_on_its_path_cold_and_warm(code: AnyWorkflow) -> None:
    assert texts(old().completed("2").task().cold(code).commands) == ["complete null"]
    assert texts(patched().completed("2").task().cold(code).commands) == ["complete null"]


def test_a_machine_in_memory_meets_the_events_of_its_own_patch() -> None:
    history = History(gated).task().done().scheduled("a").completed("1").task()
    machine = history.machine()
    first, seen = machine.process(history.since()), history.last
    history.apply(first.commands).completed("2").task()
    second = machine.process(history.since(seen))
    assert texts(second.commands) == ["complete null"]
    assert texts(history.cold().commands) == ["complete null"]


def test_without_the_gate_the_old_run_fails_clearly() -> None:
    error = error_of(old().completed("2").task().cold(ungated))
    assert error.event_id == 11
    assert error.history == "ActivityTaskScheduled, activity b (id 2)"
    assert error.code.startswith("activity x (id 2), at ")
    assert "workflow.patched" in str(error)


def test_a_marker_that_the_code_no_longer_asks_for_is_an_error() -> None:
    error = error_of(patched().completed("2").task().cold(ungated))
    assert error.history == "MarkerRecorded, patch 'to-x'"
    assert error.event_id == 11


def test_unless_it_is_deprecated() -> None:
    outcome = patched(deprecated=True).completed("2").task().cold(ungated)
    assert texts(outcome.commands) == ["complete null"]


def test_deprecating_reads_every_history_but_the_old_path() -> None:
    for history in (patched(), patched(deprecated=True), patched(upserts=False)):
        assert texts(history.completed("2").task().cold(deprecated).commands) == ["complete null"]
    bare = History(before).task().done().scheduled("a").completed("1").task().done().scheduled("x", "2")
    assert texts(bare.completed("2").task().cold(deprecated).commands) == ["complete null"]
    assert "activity b (id 2)" in error_of(old().completed("2").task().cold(deprecated)).history


def test_deprecating_marks_new_runs_as_deprecated() -> None:
    history = History(before).task().done().scheduled("a").completed("1").task()
    assert texts(history.cold(deprecated).commands)[0] == 'marker core_patch patch-data={"id":"to-x","deprecated":true}'


def test_a_mismatch_behind_a_deprecated_marker_names_the_right_event() -> None:
    history = patched(deprecated=True)

    @workflow(name="before")
    def adds_one() -> None:
        call(a)
        start(x)
        call(b)

    error = error_of(history.completed("2").task().cold(adds_one))
    assert error.code.startswith("activity b (id 3)")
    assert error.event_id == history.last - 3


def test_the_first_answer_holds_and_leaves_one_marker() -> None:
    seen: list[bool] = []

    @workflow
    def loops() -> None:
        for _ in range(3):
            seen.append(workflow.patched("p"))
            call(a)

    history = History(loops).task()
    first = history.cold()
    assert len(first.commands) == 3
    history.apply(first.commands).completed("1").task()
    assert texts(history.cold().commands) == ["schedule a() as 2"]
    assert seen == [True, True, True]

    seen.clear()
    began_before = History(loops).task().done().scheduled("a").completed("1").task()
    assert texts(began_before.cold().commands) == ["schedule a() as 2"]
    assert seen == [False, False]


def test_a_patch_first_met_live_by_an_old_run_is_taken() -> None:
    history = History(before).task().done().scheduled("a").completed("1").task()
    assert texts(history.cold(gated).commands)[2] == "schedule x() as 2"


def test_several_patches_are_listed_in_order_and_a_list_too_long_is_not_written() -> None:
    @workflow
    def many() -> None:
        workflow.patched("z")
        workflow.patched("b")
        workflow.get_version("c", 1, 4)
        workflow.patched("long" * CHANGE_VERSIONS_BYTES_MAX)
        call(a)

    history = History(many).task()
    outcome = history.cold()
    assert [line for line in texts(outcome.commands) if line.startswith("upsert")] == [
        'upsert TemporalChangeVersion ["z"]',
        'upsert TemporalChangeVersion ["b","z"]',
        'upsert TemporalChangeVersion ["b","c-4","z"]',
    ]
    history.apply(outcome.commands).completed("1").task()
    assert texts(history.cold().commands) == ["complete null"]


def versioned(low: int, high: int, seen: list[int]) -> AnyWorkflow:
    @workflow(name="before")
    def code() -> None:
        call(a)
        seen.append(workflow.get_version("c", low, high))
        call(b)

    return code


def test_a_version_is_the_newest_and_the_marker_is_that_of_the_go_sdk() -> None:
    seen: list[int] = []
    history = History(before).task().done().scheduled("a").completed("1").task()
    outcome = history.cold(versioned(-1, 2, seen))
    assert texts(outcome.commands) == [
        'marker Version change-id="c" version=2',
        'upsert TemporalChangeVersion ["c-2"]',
        "schedule b() as 2",
    ]
    history.apply(outcome.commands).completed("2").task()
    assert texts(history.cold(versioned(-1, 5, seen)).commands) == ["complete null"]
    assert seen == [2, 2]


def test_a_run_from_before_the_versions_is_on_minus_one() -> None:
    seen: list[int] = []
    assert texts(old().completed("2").task().cold(versioned(workflow.DEFAULT_VERSION, 3, seen)).commands) == [
        "complete null"
    ]
    assert seen == [-1]
    error = error_of(old().completed("2").task().cold(versioned(1, 3, seen)))
    assert "version -1 of change 'c' is not supported by this code, which supports 1 to 3" in str(error)


def test_a_version_that_was_given_up_fails_the_task_even_if_caught() -> None:
    history = History(before).task().done().scheduled("a").completed("1").task().done().version("c", 1)
    history.scheduled("b", "2").completed("2").task()

    @workflow(name="before")
    def catches() -> None:
        call(a)
        try:
            workflow.get_version("c", 2, 3)
        except NonDeterminismError:
            pass  # the task fails all the same, which is the point
        call(b)

    assert "version 1 of change 'c'" in str(error_of(history.cold(catches)))
    too_new: list[int] = []
    assert "supports -1 to 0" in str(error_of(history.cold(versioned(-1, 0, too_new))))


def test_a_version_that_nobody_asks_for_any_more_is_passed_over() -> None:
    history = History(before).task().done().scheduled("a").completed("1").task().done()
    history.version("c", 1).change_versions("c-1").scheduled("b", "2").completed("2").task()
    assert texts(history.cold().commands) == ["complete null"]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: workflow.patched(""), "a text that is not empty"),
        (lambda: workflow.deprecate_patch(7), "a text that is not empty"),  # pyright: ignore[reportArgumentType]
        (lambda: workflow.get_version("c", 3, 2), "min_supported <= max_supported"),
        (lambda: workflow.get_version("c", -2, 2), "not -2 and 2"),
        (lambda: workflow.wait_condition(lambda: workflow.patched("p")), "must"),
    ],
)
def test_misuse_is_told(ask: Any, says: str) -> None:
    @workflow
    def misuses() -> None:
        ask()

    outcome = History(misuses).task().cold()
    assert isinstance(outcome.error, EngineError)
    assert says in str(outcome.error)


def test_the_official_sdk_s_history_replays() -> None:
    """Recorded with temporalio's own worker on Temporal's server: the same workflow, written with that SDK."""

    @workflow(name="patched_elsewhere")
    async def code() -> Any:
        if workflow.patched("one"):
            await start(a, 1)
        workflow.deprecate_patch("two")
        workflow.patched("three")
        workflow.patched("one")
        return await start(a, 2)

    events = load(Path(__file__).parent / "elsewhere" / "patched.json")
    machine = History(code).machine()
    outcome = machine.process(task_of(events))
    assert outcome.failure is None, outcome.error
    assert outcome.finished
    for end in task_ends(events):
        commands = History(code).machine().process(task_of(events[:end])).commands
        written = [event for event in events[end:] if event.event_type in COMMAND_EVENTS][: len(commands)]
        assert [_content(command) for command in commands] == [_content(event) for event in written]


def _content(thing: Any) -> Any:
    """What a marker or search attribute says, in a command as in its event."""
    for field in ("record_marker_command_attributes", "marker_recorded_event_attributes"):
        if field in thing.DESCRIPTOR.fields_by_name and thing.HasField(field):
            return {key: value.payloads[0] for key, value in getattr(thing, field).details.items()}
    for field in (
        "upsert_workflow_search_attributes_command_attributes",
        "upsert_workflow_search_attributes_event_attributes",
    ):
        if field in thing.DESCRIPTOR.fields_by_name and thing.HasField(field):
            return dict(getattr(thing, field).search_attributes.indexed_fields)
    return None
