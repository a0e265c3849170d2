"""Durations, instants, coefficients, counts and tokens from outside: cut as Temporal cuts them, or refused by name.

Which are cut, and to what, was read off Temporal's server; where it takes what nothing can be done with (a coefficient
that is no number, nanoseconds beyond a second) they are refused here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Priority, RetryPolicy
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from temporalio.api.workflowservice import v1 as service

from perdure.api.bounds import DURATION_MAX_S
from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import LONG_MAX
from perdure.core.limits import Limits
from perdure.frontend import WorkflowService
from tests.engine.world import (
    World,
    activity_poll,
    completion,
    describe_request,
    history,
    names,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)

INVALID = StatusCode.INVALID_ARGUMENT
LONG = (Duration(seconds=DURATION_MAX_S + 1), Duration(seconds=10**12), Duration(seconds=LONG_MAX))
BAD: list[tuple[Duration, str]] = [
    (Duration(seconds=-1), "negative duration"),
    (Duration(nanos=-1), "negative duration"),
    (Duration(seconds=-LONG_MAX), "negative duration"),
    (Duration(seconds=1, nanos=-1), "different signs"),
    (Duration(seconds=1, nanos=1_999_999_999), "out-of-range nanos"),
]
COEFFICIENTS = (math.nan, math.inf, 1e308, -1.0, 0.5, 1e19)


def asked(ask: Callable[[WorkflowService], Any]) -> Any:
    """What a fresh server answers; a refusal is returned."""
    answers: list[Any] = []

    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            try:
                answers.append(await ask(WorkflowService(engine)))
            except Rejected as refused:
                answers.append(refused)

    scenario()
    return answers[0]


def refused(ask: Callable[[WorkflowService], Any], why: str) -> None:
    answer = asked(ask)
    assert isinstance(answer, Rejected), answer
    assert (answer.code, why in answer.message) == (INVALID, True), answer.message


# --- starts ---------------------------------------------------------------------------------------

TIMEOUTS = ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout", "workflow_start_delay")


def start_with(field: str, value: Any) -> service.StartWorkflowExecutionRequest:
    request = start_request()
    getattr(request, field).CopyFrom(value)
    return request


@pytest.mark.parametrize("duration", LONG)
def test_what_a_run_may_take_is_cut_to_a_century(duration: Duration) -> None:
    async def ask(rpcs: WorkflowService) -> Any:
        request = start_request()
        for field in TIMEOUTS:
            getattr(request, field).CopyFrom(duration)
        request.retry_policy.initial_interval.CopyFrom(duration)
        await rpcs.start_workflow_execution(request)
        return (await history(rpcs))[0].workflow_execution_started_event_attributes

    began = asked(ask)
    century = Duration(seconds=DURATION_MAX_S)
    assert began.workflow_execution_timeout == began.workflow_run_timeout == century
    assert began.first_workflow_task_backoff == century
    assert began.workflow_task_timeout.seconds == 120
    assert began.retry_policy.initial_interval == began.retry_policy.maximum_interval == century
    assert began.workflow_execution_expiration_time.seconds < LONG_MAX // 10**9


@pytest.mark.parametrize("field", TIMEOUTS)
@pytest.mark.parametrize(("duration", "why"), BAD)
def test_a_duration_that_is_none_is_refused_by_name(field: str, duration: Duration, why: str) -> None:
    name = "".join(word.capitalize() for word in field.split("_"))
    message = f"An invalid {name}Seconds is set on request. cause: "
    refused(lambda rpcs: rpcs.start_workflow_execution(start_with(field, duration)), message)
    refused(lambda rpcs: rpcs.start_workflow_execution(start_with(field, duration)), why)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_a_coefficient_that_is_none_is_refused(coefficient: float) -> None:
    request = start_with("retry_policy", RetryPolicy(backoff_coefficient=coefficient))
    refused(lambda rpcs: rpcs.start_workflow_execution(request), "BackoffCoefficient cannot be")


@pytest.mark.parametrize(
    ("priority", "why"),
    [
        (Priority(priority_key=-1), "priority: priority key can't be negative: -1"),
        (Priority(fairness_weight=-1), "priority: fairness weight must be a number greater than zero, not -1.0"),
        (Priority(fairness_weight=math.nan), "fairness weight must be a number"),
        (Priority(fairness_weight=math.inf), "fairness weight must be a number"),
        (Priority(fairness_key="x" * 65), "fairness key length exceeds limit: 65 > 64"),
    ],
)
def test_a_priority_that_is_none_is_refused(priority: Priority, why: str) -> None:
    refused(lambda rpcs: rpcs.start_workflow_execution(start_with("priority", priority)), why)


@pytest.mark.parametrize(("duration", "why"), BAD)
@pytest.mark.parametrize("field", ["initial_interval", "maximum_interval"])
def test_a_retry_interval_that_is_none_is_refused(field: str, duration: Duration, why: str) -> None:
    policy = RetryPolicy()
    getattr(policy, field).CopyFrom(duration)
    refused(lambda rpcs: rpcs.start_workflow_execution(start_with("retry_policy", policy)), why)


@pytest.mark.parametrize(
    "cron",
    ["@every " + "9" * 400 + "s", "@every " + "9" * 5000 + "s", "@every 2562048h", "@every 1h/" + "9" * 30 + "s"],
)
def test_an_interval_in_words_that_64_bits_do_not_hold_is_no_cron_schedule(cron: str) -> None:
    request = start_request(cron_schedule=cron)
    refused(lambda rpcs: rpcs.start_workflow_execution(request), "invalid CronSchedule.")


def test_cron_may_wait_for_a_century() -> None:
    async def ask(rpcs: WorkflowService) -> Any:
        await rpcs.start_workflow_execution(start_request(cron_schedule="@every 2562047h"))
        return (await history(rpcs))[0].workflow_execution_started_event_attributes

    assert asked(ask).first_workflow_task_backoff.seconds == DURATION_MAX_S


# --- commands -------------------------------------------------------------------------------------


def command(kind: str, **fields: Any) -> Command:
    made = Command(command_type=CommandType.Value(f"COMMAND_TYPE_{kind}"))
    attributes = getattr(made, f"{kind.lower()}_command_attributes")
    for path, value in {**USUAL[kind], **fields}.items():
        message, _, field = path.rpartition("__")
        at = getattr(attributes, message) if message else attributes
        if isinstance(value, Duration | RetryPolicy):
            getattr(at, field).CopyFrom(value)
        else:
            setattr(at, field, value)
    return made


USUAL: dict[str, dict[str, Any]] = {
    "START_TIMER": {"timer_id": "t"},
    "SCHEDULE_ACTIVITY_TASK": {
        "activity_id": "a",
        "activity_type__name": "x",
        "start_to_close_timeout": Duration(seconds=5),
    },
    "START_CHILD_WORKFLOW_EXECUTION": {"workflow_id": "kid", "workflow_type__name": "x"},
    "CONTINUE_AS_NEW_WORKFLOW_EXECUTION": {"workflow_type__name": "x"},
}
CAUSES = {
    "START_TIMER": "BAD_START_TIMER_ATTRIBUTES",
    "SCHEDULE_ACTIVITY_TASK": "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES",
    "START_CHILD_WORKFLOW_EXECUTION": "BAD_START_CHILD_EXECUTION_ATTRIBUTES",
    "CONTINUE_AS_NEW_WORKFLOW_EXECUTION": "BAD_CONTINUE_AS_NEW_ATTRIBUTES",
}
DURATIONS = [
    ("START_TIMER", "start_to_fire_timeout"),
    *[
        ("SCHEDULE_ACTIVITY_TASK", f"{name}_timeout")
        for name in ("schedule_to_close", "schedule_to_start", "start_to_close", "heartbeat")
    ],
    *[("START_CHILD_WORKFLOW_EXECUTION", f"workflow_{name}_timeout") for name in ("execution", "run", "task")],
    *[("CONTINUE_AS_NEW_WORKFLOW_EXECUTION", f"workflow_{name}_timeout") for name in ("run", "task")],
    ("CONTINUE_AS_NEW_WORKFLOW_EXECUTION", "backoff_start_interval"),
]


def answered(made: Command, limits: Limits | None = None) -> tuple[Any, list[Any]]:
    """What a worker's answer with this command was told, and the history after it."""
    found: list[Any] = []

    @virtual
    async def scenario(world: World) -> None:
        async with world.engine(**({"limits": limits} if limits else {})) as engine:
            rpcs = WorkflowService(engine)
            run_id = (await rpcs.start_workflow_execution(start_request())).run_id
            task = await rpcs.poll_workflow_task_queue(workflow_poll())
            try:
                found.append(await rpcs.respond_workflow_task_completed(completion(task.task_token, made)))
            except Rejected as refusal:
                found.append(refusal)
            found.append(await history(rpcs, run_id=run_id))

    scenario()
    return found[0], found[1]


@pytest.mark.parametrize(("kind", "field"), DURATIONS)
@pytest.mark.parametrize("duration", LONG[1:])
def test_a_commands_duration_is_cut_to_a_century(kind: str, field: str, duration: Duration) -> None:
    answer, events = answered(command(kind, **{field: duration}))
    assert not isinstance(answer, Rejected), answer
    recorded = getattr(events[-1], str(events[-1].WhichOneof("attributes")))
    expected = 120 if field == "workflow_task_timeout" else 5 if field == "heartbeat_timeout" else DURATION_MAX_S
    assert getattr(recorded, field).seconds == expected


@pytest.mark.parametrize(("kind", "field"), DURATIONS)
@pytest.mark.parametrize(("duration", "why"), BAD)
def test_a_commands_duration_that_is_none_fails_the_task(kind: str, field: str, duration: Duration, why: str) -> None:
    answer, events = answered(command(kind, **{field: duration}))
    assert isinstance(answer, Rejected)
    name = "".join(word.capitalize() for word in field.split("_"))
    assert (answer.code, why in answer.message, name in answer.message) == (INVALID, True, True), answer.message
    [failed] = [event for event in events if event.HasField("workflow_task_failed_event_attributes")]
    cause = failed.workflow_task_failed_event_attributes.cause
    assert WorkflowTaskFailedCause.Name(cause) == f"WORKFLOW_TASK_FAILED_CAUSE_{CAUSES[kind]}"


@pytest.mark.parametrize("kind", [kind for kind in USUAL if kind != "START_TIMER"])
@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_a_commands_coefficient_that_is_none_fails_the_task(kind: str, coefficient: float) -> None:
    answer, _ = answered(command(kind, retry_policy=RetryPolicy(backoff_coefficient=coefficient)))
    assert isinstance(answer, Rejected)
    assert "BackoffCoefficient cannot be" in answer.message


def test_what_no_judge_looks_at_is_looked_at_in_every_command() -> None:
    made = command("SCHEDULE_ACTIVITY_TASK")
    made.schedule_activity_task_command_attributes.priority.fairness_weight = math.nan
    answer, events = answered(made)
    assert isinstance(answer, Rejected)
    assert "priority: fairness weight must be a number greater than zero, not nan" in answer.message
    assert "WORKFLOW_TASK_FAILED" in names(events)


# --- entries --------------------------------------------------------------------------------------

FEW = Limits(entries=3)


def entries(count: int) -> dict[str, bytes]:
    return {f"key{number}": b"1" for number in range(count)}


def marker(count: int) -> Command:
    made = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    made.record_marker_command_attributes.marker_name = "m"
    for name in entries(count):
        made.record_marker_command_attributes.details[name].SetInParent()
    return made


def memo(count: int) -> Command:
    made = Command(command_type=CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
    for name, data in entries(count).items():
        made.modify_workflow_properties_command_attributes.upserted_memo.fields[name].data = data
    return made


@pytest.mark.parametrize("make", [marker, memo])
def test_a_map_has_a_bounded_number_of_entries(make: Callable[[int], Command]) -> None:
    assert not isinstance(answered(make(3), FEW)[0], Rejected)
    refusal, _ = answered(make(4), FEW)
    assert isinstance(refusal, Rejected)
    assert "has too many entries: 4 > 3" in refusal.message


@pytest.mark.parametrize("field", ["memo", "header"])
def test_a_start_has_a_bounded_number_of_entries(field: str) -> None:
    request = start_request()
    for name, data in entries(1001).items():
        getattr(request, field).fields[name].data = data
    refused(lambda rpcs: rpcs.start_workflow_execution(request), f"{field}.fields: has too many entries: 1001 > 1000")


@virtual
async def test_a_memo_does_not_grow_beyond_its_bound_in_small_steps(world: World) -> None:
    async with world.engine(limits=FEW) as engine:
        rpcs = WorkflowService(engine)
        begun = start_request()
        begun.memo.fields["first"].data = b"1"
        await rpcs.start_workflow_execution(begun)
        task = await rpcs.poll_workflow_task_queue(workflow_poll())
        answer = completion(task.task_token, memo(1), memo(2))
        answer.force_create_new_workflow_task = True
        await rpcs.respond_workflow_task_completed(answer)
        task = await rpcs.poll_workflow_task_queue(workflow_poll())
        with pytest.raises(Rejected, match="the memo has too many entries: 4 > 3"):
            await rpcs.respond_workflow_task_completed(completion(task.task_token, memo(3)))


# --- activities -----------------------------------------------------------------------------------


async def in_an_activity(rpcs: WorkflowService) -> service.PollActivityTaskQueueResponse:
    await rpcs.start_workflow_execution(start_request())
    task = await rpcs.poll_workflow_task_queue(workflow_poll())
    await rpcs.respond_workflow_task_completed(completion(task.task_token, schedule("a")))
    return await rpcs.poll_activity_task_queue(activity_poll())


@pytest.mark.parametrize(
    ("delay", "interval_s"),
    [(LONG[0], DURATION_MAX_S), (LONG[2], DURATION_MAX_S), (Duration(seconds=7), 7), (Duration(seconds=-5), 0)],
)
def test_the_delay_that_a_failure_asks_for_is_cut(delay: Duration, interval_s: int) -> None:
    async def ask(rpcs: WorkflowService) -> Any:
        task = await in_an_activity(rpcs)
        failed = service.RespondActivityTaskFailedRequest(task_token=task.task_token)
        failed.failure.application_failure_info.next_retry_delay.CopyFrom(delay)
        await rpcs.respond_activity_task_failed(failed)
        return (await rpcs.describe_workflow_execution(describe_request())).pending_activities[0]

    assert asked(ask).current_retry_interval.seconds == interval_s


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("heartbeat_timeout", Duration(seconds=-1), "invalid HeartbeatTimeout: negative duration"),
        ("start_to_close_timeout", Duration(seconds=1, nanos=-1), "different signs"),
        ("retry_policy", RetryPolicy(backoff_coefficient=math.nan), "not a finite number"),
        ("retry_policy", RetryPolicy(backoff_coefficient=1e300), "BackoffCoefficient cannot be more than"),
        ("retry_policy.initial_interval", RetryPolicy(initial_interval=Duration(seconds=-1)), "negative duration"),
    ],
)
def test_an_activitys_options_are_changed_to_what_can_be(path: str, value: Any, why: str) -> None:
    async def ask(rpcs: WorkflowService) -> Any:
        await in_an_activity(rpcs)
        request = service.UpdateActivityOptionsRequest(namespace="default", id="a")
        request.execution.workflow_id = "order-1"
        request.update_mask.paths.append(path)
        getattr(request.activity_options, path.partition(".")[0]).CopyFrom(value)
        return await rpcs.update_activity_options(request)

    refused(ask, why)


def test_an_activitys_options_are_cut_to_a_century() -> None:
    async def ask(rpcs: WorkflowService) -> Any:
        await in_an_activity(rpcs)
        request = service.UpdateActivityOptionsRequest(namespace="default", id="a")
        request.execution.workflow_id = "order-1"
        request.update_mask.paths.extend(["schedule_to_close_timeout", "retry_policy"])
        request.activity_options.schedule_to_close_timeout.CopyFrom(LONG[2])
        request.activity_options.retry_policy.initial_interval.CopyFrom(LONG[2])
        return (await rpcs.update_activity_options(request)).activity_options

    options = asked(ask)
    assert options.schedule_to_close_timeout.seconds == options.retry_policy.initial_interval.seconds == DURATION_MAX_S
