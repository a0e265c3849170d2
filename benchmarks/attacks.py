"""What `benchmarks.neighbours` does to a server: legal requests of one client that are meant to cost the others.

An attack goes on until it is stopped, and counts how the server answered. A refusal is a good answer; what counts is
what the neighbours notice.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.enums.v1 import CommandType
from temporalio.api.failure.v1 import Failure
from temporalio.api.schedule.v1 import CalendarSpec, IntervalSpec, Schedule
from temporalio.api.workflowservice import v1 as service

from benchmarks.raw_client import LOCAL_POOL, RawClient

Outcomes = Counter[str]
Attack = Callable[[str, Outcomes], Awaitable[None]]

QUEUE = "evil"
MEGABYTES_2 = 1_900_000
_NUMBERS = itertools.count()


class Attacker(RawClient):
    """A connection that takes answers of any size, and counts them by their code."""

    def __init__(self, target: str, outcomes: Outcomes) -> None:
        super().__init__(target)
        self.channel = aio.insecure_channel(target, options=[*LOCAL_POOL, ("grpc.max_receive_message_length", -1)])
        self.outcomes = outcomes

    async def ask(self, request: Message, timeout: float = 60) -> Any:
        """The RPC of a request's name; None when it was refused."""
        name = type(request).__name__.removesuffix("Request")
        if any(field.name == "namespace" for field in request.DESCRIPTOR.fields):
            request.namespace = "default"  # pyright: ignore[reportAttributeAccessIssue] - it has the field
        try:
            answer = await self.call(name, request, getattr(service, f"{name}Response"), timeout)
        except aio.AioRpcError as error:
            self.outcomes[f"{name} {error.code().name}"] += 1
            return None
        self.outcomes[f"{name} OK"] += 1
        return answer

    async def begin(self, queue: str = QUEUE, **fields: Any) -> str:
        """Start a workflow; its id."""
        workflow_id = f"evil-{next(_NUMBERS)}"
        request = service.StartWorkflowExecutionRequest(workflow_id=workflow_id, **fields)
        request.workflow_type.name, request.task_queue.name = "evil", queue
        await self.ask(request)
        return workflow_id

    async def take(self, queue: str = QUEUE) -> Any:
        """The next workflow task."""
        request = service.PollWorkflowTaskQueueRequest(identity="evil")
        request.task_queue.name = queue
        return await self.ask(request)

    async def answer(self, task: Any, *commands: Command) -> None:
        await self.ask(service.RespondWorkflowTaskCompletedRequest(task_token=task.task_token, commands=commands))


def _activity(number: int = 0, queue: str = QUEUE, **fields: Any) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id, attributes.activity_type.name = f"a-{number}", "evil"
    attributes.task_queue.name = queue
    attributes.start_to_close_timeout.seconds = 600
    for name, value in fields.items():
        getattr(attributes, name).CopyFrom(value)
    return command


async def _activity_task(attacker: Attacker, queue: str = QUEUE) -> Any:
    request = service.PollActivityTaskQueueRequest(identity="evil")
    request.task_queue.name = queue
    return await attacker.ask(request)


async def slow_filters(target: str, outcomes: Outcomes) -> None:
    """64 KB of comments that never end, wherever a filter is read."""
    attacker, query = Attacker(target, outcomes), "/* " * 21845
    while True:
        await attacker.ask(service.ListWorkflowExecutionsRequest(query=query))
        await attacker.ask(service.CountWorkflowExecutionsRequest(query=query))
        await attacker.ask(service.ListSchedulesRequest(query=query))
        batch = service.StartBatchOperationRequest(job_id="evil", visibility_query=query, reason="evil")
        batch.termination_operation.SetInParent()
        await attacker.ask(batch)


def _schedule(exclusions: int, hour: str = "*") -> Schedule:
    """Every second, but for so many calendars that leave nothing."""
    schedule = Schedule()
    schedule.spec.interval.append(IntervalSpec(interval=Duration(seconds=1)))
    for _ in range(exclusions):
        schedule.spec.exclude_calendar.append(CalendarSpec(second="*", minute="*", hour=hour))
    start = schedule.action.start_workflow
    start.workflow_id, start.workflow_type.name, start.task_queue.name = "evil", "evil", QUEUE
    return schedule


async def schedules_that_never_act(target: str, outcomes: Outcomes) -> None:
    """A kilobyte of calendars that exclude every second, described, listed and asked for its times."""
    attacker = Attacker(target, outcomes)
    rare = _schedule(0)
    for minutes in ("0-29", "30-59"):
        rare.spec.exclude_calendar.append(CalendarSpec(second="1-59", minute=minutes, hour="*"))
    rare.spec.exclude_calendar.append(CalendarSpec(second="0", minute="1-59", hour="*"))
    for number in itertools.count():
        for exclusions in (60, 1000):
            name = f"never-{number}-{exclusions}"
            await attacker.ask(
                service.CreateScheduleRequest(schedule_id=name, schedule=_schedule(exclusions), request_id=name)
            )
            await attacker.ask(service.DescribeScheduleRequest(schedule_id=name))
        name = f"rare-{number}"
        await attacker.ask(service.CreateScheduleRequest(schedule_id=name, schedule=rare, request_id=name))
        await attacker.ask(
            service.ListScheduleMatchingTimesRequest(
                schedule_id=name, start_time=Timestamp(seconds=1), end_time=Timestamp(seconds=4_000_000_000)
            )
        )
        await attacker.ask(service.ListSchedulesRequest(maximum_page_size=100))


async def numbers_that_nothing_holds(target: str, outcomes: Outcomes) -> None:
    """Time-outs, delays and timers of 10^11 seconds and more; schedules whose runs have such."""
    attacker = Attacker(target, outcomes)
    endless = Duration(seconds=10**12)
    for number in range(40):
        poison = _schedule(0)
        poison.action.start_workflow.workflow_run_timeout.CopyFrom(endless)
        await attacker.ask(
            service.CreateScheduleRequest(schedule_id=f"poison-{number}", schedule=poison, request_id=str(number))
        )
    for seconds in itertools.cycle([10**11, 10**12, 10**15, 10**18, 315_576_000_000]):
        large = Duration(seconds=seconds)
        await attacker.begin(workflow_run_timeout=large)
        await attacker.begin(workflow_start_delay=large)
        await attacker.begin(workflow_execution_timeout=large)
        await attacker.begin("evil-timers")
        task = await attacker.take("evil-timers")
        if task is not None and task.task_token:
            timer = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
            timer.start_timer_command_attributes.timer_id = "t"
            timer.start_timer_command_attributes.start_to_fire_timeout.CopyFrom(large)
            await attacker.answer(task, timer, _activity(schedule_to_close_timeout=large))


def _failure(causes: int) -> Failure:
    deep = Failure(message="the last")
    for number in range(causes):
        outer = Failure(message=f"cause {number}")
        outer.cause.CopyFrom(deep)
        deep = outer
    deep.application_failure_info.non_retryable = True
    return deep


async def failures_without_end(target: str, outcomes: Outcomes) -> None:
    """An activity fails with 99 causes; then the queue of its workflow is polled, and the history read."""
    attacker = Attacker(target, outcomes)
    deep, less_deep = _failure(97), _failure(90)  # within a command there is less room in a message
    while True:
        workflow_id = await attacker.begin()
        task = await attacker.take()
        if task is None or not task.task_token:
            continue
        await attacker.answer(task, _activity())
        attempt = await _activity_task(attacker)
        if attempt is not None and attempt.task_token:
            await attacker.ask(service.RespondActivityTaskFailedRequest(task_token=attempt.task_token, failure=deep))
        told = await attacker.take()
        if told is not None and told.task_token:
            fail = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
            fail.fail_workflow_execution_command_attributes.failure.CopyFrom(less_deep)
            await attacker.answer(told, fail)
        execution = WorkflowExecution(workflow_id=workflow_id)
        await attacker.ask(service.GetWorkflowExecutionHistoryRequest(execution=execution))


async def lists_of_gigabytes(target: str, outcomes: Outcomes) -> None:
    """Eighty runs with a memo of 1.9 MB each, listed by six connections at once, whole."""
    attacker = Attacker(target, outcomes)
    for _ in range(80):
        request = service.StartWorkflowExecutionRequest(workflow_id=f"memo-{next(_NUMBERS)}")
        request.workflow_type.name, request.task_queue.name = "evil", QUEUE
        request.memo.fields["m"].data = b"m" * MEGABYTES_2
        await attacker.ask(request)

    async def read(reader: Attacker) -> None:
        while True:
            await reader.ask(service.ListWorkflowExecutionsRequest(page_size=1000))

    await asyncio.gather(*[read(Attacker(target, outcomes)) for _ in range(6)])


async def a_state_that_is_rewritten(target: str, outcomes: Outcomes) -> None:
    """Twenty-five activities with heartbeat details of 1.9 MB, and signals to their workflow."""
    attacker = Attacker(target, outcomes)
    workflow_id = await attacker.begin()
    task = await attacker.take()
    await attacker.answer(task, *[_activity(number) for number in range(25)])
    details = Payloads(payloads=[Payload(data=b"d" * MEGABYTES_2)])
    for _ in range(25):
        attempt = await _activity_task(attacker)
        if attempt is not None:
            await attacker.ask(
                service.RecordActivityTaskHeartbeatRequest(task_token=attempt.task_token, details=details)
            )
    execution = WorkflowExecution(workflow_id=workflow_id)
    while True:
        await attacker.ask(service.SignalWorkflowExecutionRequest(workflow_execution=execution, signal_name="go"))


async def counts_that_nobody_waits_for(target: str, outcomes: Outcomes) -> None:
    """A filter of 240 comparisons over 2,000 runs, ten at a time, left after a second."""
    attacker = Attacker(target, outcomes)
    for _ in range(40):
        await asyncio.gather(*[attacker.begin() for _ in range(50)])
    query = " OR ".join(f"ExecutionDuration > {number}" for number in range(240))

    async def leave(one: Attacker) -> None:
        while True:
            await one.ask(service.CountWorkflowExecutionsRequest(query=query), timeout=1)

    await asyncio.gather(*[leave(Attacker(target, outcomes)) for _ in range(10)])


async def starts_with_300_000_headers(target: str, outcomes: Outcomes) -> None:
    """3 MB of tiny header fields, and of memo keys, in a start whose task is then taken."""
    attacker = Attacker(target, outcomes)
    while True:
        for where, count in (("header", 300_000), ("memo", 150_000)):
            request = service.StartWorkflowExecutionRequest(workflow_id=f"wide-{next(_NUMBERS)}")
            request.workflow_type.name, request.task_queue.name = "evil", QUEUE
            fields = getattr(request, where).fields
            for number in range(count):
                fields[str(number)].SetInParent()
            if await attacker.ask(request) is not None:
                await attacker.take()


async def answers_with_100_000_commands(target: str, outcomes: Outcomes) -> None:
    """Markers, as many as one answer of a megabyte holds."""
    attacker = Attacker(target, outcomes)
    marker = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    marker.record_marker_command_attributes.marker_name = "m"
    while True:
        workflow_id = await attacker.begin()
        task = await attacker.take()
        if task is not None and task.task_token:
            await attacker.answer(task, *[marker] * 100_000)
        await attacker.ask(
            service.GetWorkflowExecutionHistoryRequest(execution=WorkflowExecution(workflow_id=workflow_id))
        )


async def schedules_every_second(target: str, outcomes: Outcomes) -> None:
    """1,600 schedules that act every second."""
    attacker = Attacker(target, outcomes)

    async def create(number: int) -> None:
        busy = _schedule(0)
        busy.action.start_workflow.workflow_id = f"busy-{number}"
        await attacker.ask(
            service.CreateScheduleRequest(schedule_id=f"busy-{number}", schedule=busy, request_id=str(number))
        )

    for begin in range(0, 1600, 50):
        await asyncio.gather(*[create(number) for number in range(begin, begin + 50)])
    await asyncio.Event().wait()


async def nobody(target: str, outcomes: Outcomes) -> None:
    """No attack: what the measurement itself costs."""
    outcomes["nothing was asked"] += 1
    await asyncio.Event().wait()


ATTACKS: dict[str, Attack] = {
    "nobody": nobody,
    "1 slow filters": slow_filters,
    "2 schedules that never act": schedules_that_never_act,
    "3 numbers that nothing holds": numbers_that_nothing_holds,
    "4 failures without end": failures_without_end,
    "5 lists of gigabytes": lists_of_gigabytes,
    "6 a state that is rewritten": a_state_that_is_rewritten,
    "8 counts nobody waits for": counts_that_nobody_waits_for,
    "9 starts with 300,000 headers": starts_with_300_000_headers,
    "12 answers with 100,000 commands": answers_with_100_000_commands,
    "13 schedules every second": schedules_every_second,
}
"""By the number that each had when it was found."""
