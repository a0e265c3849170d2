"""Durations that are too long, or none: what the server makes of them, through bare requests."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import RetryPolicy, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import CommandType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice import v1 as service

from tests.differential.stage import Stage

CENTURY_S = 100 * 365 * 86_400
LONG_MAX = (1 << 63) - 1
LONG = (Duration(seconds=CENTURY_S), Duration(seconds=CENTURY_S + 1), Duration(seconds=10**12))
NONE = (Duration(seconds=-1), Duration(nanos=-1), Duration(seconds=-LONG_MAX), Duration(seconds=1, nanos=-1))
"""Not with too many nanos: Temporal keeps them as they are."""

_DURATIONS = ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout", "workflow_start_delay")


async def long_starts(stage: Stage) -> Any:
    """Every duration of a start, cut to a century."""
    told: list[Any] = []
    for duration in (*LONG, Duration(seconds=LONG_MAX)):
        policy = RetryPolicy(initial_interval=duration, maximum_interval=duration)
        workflow_id = stage.name(f"long-{len(told)}")
        request = _start(stage, workflow_id, retry_policy=policy, **dict.fromkeys(_DURATIONS, duration))
        await stage.rpc.start_workflow_execution(request)
        began = (await _events(stage, workflow_id))[0].workflow_execution_started_event_attributes
        told.append(
            [
                began.workflow_execution_timeout.seconds,
                began.workflow_run_timeout.seconds,
                began.workflow_task_timeout.seconds,
                began.first_workflow_task_backoff.seconds,
                began.retry_policy.initial_interval.seconds,
                began.retry_policy.maximum_interval.seconds,
            ]
        )
        await _terminate(stage, workflow_id)
    return told


async def starts_with_durations_that_are_none(stage: Stage) -> Any:
    fields: list[dict[str, Any]] = [{name: duration} for name in _DURATIONS for duration in NONE]
    fields += [{"retry_policy": RetryPolicy(initial_interval=duration)} for duration in NONE]
    fields += [{"retry_policy": RetryPolicy(maximum_interval=duration)} for duration in NONE]
    requests = [(str(one)[:90], _start(stage, stage.name("none"), **one)) for one in fields]
    return [[shown, await stage.answer(stage.rpc.start_workflow_execution(one))] for shown, one in requests]


def _commands(duration: Duration) -> list[Command]:
    timer = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
    timer.start_timer_command_attributes.timer_id = "t"
    timer.start_timer_command_attributes.start_to_fire_timeout.CopyFrom(duration)
    activity = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    scheduled = activity.schedule_activity_task_command_attributes
    scheduled.activity_id = "a"
    scheduled.activity_type.name = "x"
    scheduled.task_queue.name = "nobody"
    for name in ("schedule_to_close", "schedule_to_start", "start_to_close", "heartbeat"):
        getattr(scheduled, f"{name}_timeout").CopyFrom(duration)
    scheduled.retry_policy.initial_interval.CopyFrom(duration)
    scheduled.retry_policy.maximum_interval.CopyFrom(duration)  # not left to the server: its default overflows
    next_run = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    said = next_run.continue_as_new_workflow_execution_command_attributes
    said.workflow_type.name = "x"
    said.task_queue.name = "nobody"
    for name in ("workflow_run_timeout", "workflow_task_timeout", "backoff_start_interval"):
        getattr(said, name).CopyFrom(duration)
    return [timer, activity, next_run]


async def long_commands(stage: Stage) -> Any:
    """Every duration of a command, cut to a century."""
    told: list[Any] = []
    for duration in (*LONG, Duration(seconds=LONG_MAX)):
        for command in _commands(duration):
            workflow_id = stage.name(f"long-{len(told)}")
            run_id, token = await _task(stage, workflow_id)
            await _respond(stage, token, command)
            event = (await _events(stage, workflow_id, run_id))[-1]
            attributes = getattr(event, str(event.WhichOneof("attributes")))
            told.append({name: value.seconds for name, value in _durations_of(attributes)})
            await _terminate(stage, workflow_id)
    return told


async def commands_with_durations_that_are_none(stage: Stage) -> Any:
    told: list[Any] = []
    for duration in NONE:
        for command in _commands(duration)[:2]:
            workflow_id = stage.name(f"none-{len(told)}")
            run_id, token = await _task(stage, workflow_id)
            answer = await stage.answer(_respond(stage, token, command))
            failed = [
                event.workflow_task_failed_event_attributes.cause
                for event in await _events(stage, workflow_id, run_id)
                if event.HasField("workflow_task_failed_event_attributes")
            ]
            told.append([answer, failed])
            await _terminate(stage, workflow_id)
    return told


def _durations_of(attributes: Any) -> list[tuple[str, Any]]:
    return [
        (field.name, value)
        for field, value in attributes.ListFields()
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Duration"
    ]


def _start(stage: Stage, workflow_id: str, **fields: Any) -> service.StartWorkflowExecutionRequest:
    return service.StartWorkflowExecutionRequest(
        namespace=stage.namespace,
        workflow_id=workflow_id,
        workflow_type=WorkflowType(name="x"),
        task_queue=TaskQueue(name=fields.pop("queue", "nobody")),
        request_id=workflow_id,
        **fields,
    )


async def _task(stage: Stage, workflow_id: str) -> tuple[str, bytes]:
    """A workflow task of a new workflow: its run and its token."""
    started = await stage.rpc.start_workflow_execution(_start(stage, workflow_id, queue=workflow_id))
    polled = await stage.rpc.poll_workflow_task_queue(
        service.PollWorkflowTaskQueueRequest(namespace=stage.namespace, task_queue=TaskQueue(name=workflow_id))
    )
    return started.run_id, polled.task_token


async def _respond(stage: Stage, token: bytes, command: Command) -> Any:
    return await stage.rpc.respond_workflow_task_completed(
        service.RespondWorkflowTaskCompletedRequest(namespace=stage.namespace, task_token=token, commands=[command])
    )


async def _events(stage: Stage, workflow_id: str, run_id: str = "") -> Any:
    response = await stage.rpc.get_workflow_execution_history(
        service.GetWorkflowExecutionHistoryRequest(
            namespace=stage.namespace, execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        )
    )
    return response.history.events


async def _terminate(stage: Stage, workflow_id: str) -> None:
    await stage.rpc.terminate_workflow_execution(
        service.TerminateWorkflowExecutionRequest(
            namespace=stage.namespace, workflow_execution=WorkflowExecution(workflow_id=workflow_id), reason="enough"
        )
    )
