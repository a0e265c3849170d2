"""What the worst of clients do, each within the protocol, again and again until they are ended.

An attack is a pair: what it needs, done before anybody is measured, and what it does. `python -m
benchmarks.neighbours.attacks NAME HOST:PORT` says "ready" when it could begin, and begins when it is told a line.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from google.protobuf.message import Message
from grpc import aio
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import CommandType
from temporalio.api.failure.v1 import Failure
from temporalio.api.schedule.v1 import CalendarSpec, Schedule
from temporalio.api.workflowservice import v1 as service

from benchmarks.neighbours.honest import CLIENTS, QUEUE
from benchmarks.raw_client import SERVICE, RawClient

LARGE = 1_900_000
"""Bytes of what may have two mebibytes."""
ALL_DAY = {"hour": "*", "minute": "*", "second": "*"}


class Attacker:
    """One connection; whatever it is answered, it goes on."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.client = RawClient(target)
        self.ids = (f"evil-{uuid.uuid4().hex[:8]}-{number}" for number in itertools.count())

    async def ask(self, request: Message | bytes, name: str = "", timeout: float = 30) -> Any:
        """The answer; None when it was refused."""
        name = name or type(request).__name__.removesuffix("Request")
        response: type[Message] = getattr(service, f"{name}Response")
        stub: Any = self.client.channel.unary_unary(
            SERVICE + name, request_serializer=_bytes_of, response_deserializer=response.FromString
        )
        try:
            return await stub(request, timeout=timeout)
        except aio.AioRpcError:
            return None  # a refusal is what an attacker expects

    def start_request(self, queue: str = "evil", **fields: Any) -> service.StartWorkflowExecutionRequest:
        request = service.StartWorkflowExecutionRequest(
            namespace="default", workflow_id=next(self.ids), request_id=uuid.uuid4().hex, **fields
        )
        request.workflow_type.name, request.task_queue.name = "evil", queue
        return request

    async def begin(self, queue: str = "evil", **fields: Any) -> Any:
        """A run whose first workflow task comes with the answer; None when it does not."""
        started = await self.ask(self.start_request(queue, request_eager_execution=True, **fields))
        return started.eager_workflow_task if started is not None and started.eager_workflow_task.task_token else None

    async def answer(self, task: Any, commands: Iterable[Command]) -> None:
        await self.ask(service.RespondWorkflowTaskCompletedRequest(task_token=task.task_token, commands=commands))

    async def activity(self, queue: str) -> Any:
        request = service.PollActivityTaskQueueRequest(namespace="default", identity="evil")
        request.task_queue.name = queue
        return await self.ask(request)


def _bytes_of(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def _field(number: int, data: bytes) -> bytes:
    size, head = len(data), bytearray((number << 3 | 2,))
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data


def _activities(count: int, queue: str) -> list[Command]:
    commands: list[Command] = []
    for number in range(count):
        command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
        attributes = command.schedule_activity_task_command_attributes
        attributes.activity_id, attributes.activity_type.name, attributes.task_queue.name = str(number), "evil", queue
        attributes.start_to_close_timeout.seconds = 600
        attributes.retry_policy.maximum_attempts = 1
        commands.append(command)
    return commands


async def nothing(attacker: Attacker) -> None:
    """An attack has nothing to prepare; and the measure of the others: nobody attacks."""


async def rest(attacker: Attacker) -> None:
    await asyncio.Event().wait()


# --- 1: filters that take long to read ------------------------------------------------------------


async def read_filters(attacker: Attacker) -> None:
    texts = [
        "/* " * 21_845,
        "ExecutionDuration > '" + "1" * 64_000 + "x'",
        "(" * 65_000,
        "WorkflowId = '" + "\\" * 60_000,
    ]
    batch = service.StartBatchOperationRequest(namespace="default", reason="evil")
    batch.termination_operation.identity = "evil"
    for text in itertools.cycle(texts):
        await attacker.ask(service.ListWorkflowExecutionsRequest(namespace="default", query=text))
        await attacker.ask(service.CountWorkflowExecutionsRequest(namespace="default", query=text))
        await attacker.ask(service.ListSchedulesRequest(namespace="default", query=text))
        batch.job_id, batch.visibility_query = next(attacker.ids), text
        await attacker.ask(batch)


# --- 2: schedules that exclude nearly everything --------------------------------------------------


def _every_second(**exclude: Iterable[dict[str, str]]) -> Schedule:
    schedule = Schedule()
    schedule.action.start_workflow.workflow_id = "evil"
    schedule.action.start_workflow.workflow_type.name = "evil"
    schedule.action.start_workflow.task_queue.name = "evil"
    schedule.spec.interval.add().interval.seconds = 1
    schedule.spec.exclude_calendar.extend(CalendarSpec(**one) for one in exclude.get("exclude", ()))
    return schedule


async def make_schedules(attacker: Attacker) -> None:
    kinds = [
        _every_second(exclude=[ALL_DAY] * 60),
        _every_second(exclude=[ALL_DAY] * 1_000),
        _every_second(
            exclude=[{**ALL_DAY, "second": "0-58"}, {**ALL_DAY, "minute": "0-58"}, {**ALL_DAY, "hour": "0-22"}]
        ),
        _every_second(exclude=[{**ALL_DAY, "second": str(second)} for second in range(60)]),
    ]
    words = _every_second()
    words.spec.cron_string.extend(["0 0 31 2 *"] * 20_000)
    for schedule in [*kinds, words] * 3:
        await attacker.ask(
            service.CreateScheduleRequest(
                namespace="default", schedule_id=next(attacker.ids), schedule=schedule, request_id=uuid.uuid4().hex
            )
        )


async def ask_for_times(attacker: Attacker) -> None:
    while True:
        await make_schedules(attacker)
        listed = await attacker.ask(service.ListSchedulesRequest(namespace="default"))
        for entry in listed.schedules[:10] if listed is not None else ():
            named = {"namespace": "default", "schedule_id": entry.schedule_id}
            await attacker.ask(service.DescribeScheduleRequest(**named))
            times = service.ListScheduleMatchingTimesRequest(**named)
            times.start_time.seconds, times.end_time.seconds = 1_767_225_600, 4_000_000_000
            await attacker.ask(times)


# --- 3: numbers that no store holds ---------------------------------------------------------------


async def send_numbers(attacker: Attacker) -> None:
    for seconds in itertools.cycle((10**11, 9_223_372_036, 10**12, 10**18)):
        for name in ("workflow_execution_timeout", "workflow_run_timeout", "workflow_start_delay"):
            request = attacker.start_request()
            getattr(request, name).seconds = seconds
            await attacker.ask(request)
        request = attacker.start_request()
        request.retry_policy.initial_interval.seconds = seconds
        await attacker.ask(request)
        task = await attacker.begin()
        if task is not None:
            timer = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
            timer.start_timer_command_attributes.timer_id = "t"
            timer.start_timer_command_attributes.start_to_fire_timeout.seconds = seconds
            await attacker.answer(task, [timer])
        schedule = _every_second()
        schedule.action.start_workflow.workflow_run_timeout.seconds = seconds
        await attacker.ask(
            service.CreateScheduleRequest(namespace="default", schedule_id=next(attacker.ids), schedule=schedule,
                                          request_id=uuid.uuid4().hex)
        )  # fmt: skip


# --- 4: failures with very many causes, on the queues of the honest -------------------------------


def _deep_failure(causes: int) -> bytes:
    data = Failure(message="root").SerializeToString()
    for _ in range(causes):
        outer = Failure(message="level")
        outer.application_failure_info.type = "Deep"
        data = outer.SerializeToString() + _field(4, data)
    return data


async def fail_deeply(attacker: Attacker) -> None:
    for number in itertools.count():
        task = await attacker.begin(f"{QUEUE}-{number % CLIENTS}")
        if task is None:
            continue
        queue = next(attacker.ids)
        await attacker.answer(task, _activities(1, queue))
        activity = await attacker.activity(queue)
        if activity is None or not activity.task_token:
            continue
        failed = service.RespondActivityTaskFailedRequest(task_token=activity.task_token, namespace="default")
        deep = _deep_failure((50, 95, 97, 99, 150, 500)[number % 6])
        await attacker.ask(failed.SerializeToString() + _field(2, deep), "RespondActivityTaskFailed")


# --- 5: lists of large memos, that nobody reads ---------------------------------------------------


async def make_large_memos(attacker: Attacker) -> None:
    for _ in range(80):
        request = attacker.start_request("nobody")
        request.memo.fields["note"].data = bytes(LARGE)
        await attacker.ask(request)


async def list_and_not_read(attacker: Attacker) -> None:
    host, _, port = attacker.target.rpartition(":")
    request = service.ListWorkflowExecutionsRequest(namespace="default", page_size=1_000)
    sockets: list[socket.socket] = []
    for _ in range(6):
        raw = socket.create_connection((host, int(port)))
        raw.sendall(_calls("ListWorkflowExecutions", request.SerializeToString(), 40))
        sockets.append(raw)
    while True:
        await attacker.ask(request)


def _calls(name: str, message: bytes, count: int) -> bytes:
    """A connection's beginning, with windows as large as they go, and so many calls of an RPC."""
    settings = b"\x00\x04" + (2**31 - 1).to_bytes(4, "big")
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + len(settings).to_bytes(3, "big") + b"\x04\x00\0\0\0\0" + settings
    data += b"\x00\x00\x04\x08\x00\0\0\0\0" + (2**31 - 1 - 65_535).to_bytes(4, "big")
    names = {b":path": f"{SERVICE}{name}".encode(), b":authority": b"x", b"content-type": b"application/grpc"}
    headers = b"\x83\x86" + b"".join(
        b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in names.items()
    )
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    for number in range(count):
        stream = (2 * number + 1).to_bytes(4, "big")
        data += len(headers).to_bytes(3, "big") + b"\x01\x04" + stream + headers
        data += len(body).to_bytes(3, "big") + b"\x00\x01" + stream + body
    return data


# --- 6: heartbeats that are written again with every signal ----------------------------------------


async def beat_and_signal(attacker: Attacker) -> None:
    details = Payloads()
    details.payloads.add(data=bytes(LARGE))
    for count in itertools.cycle((25, 4)):  # beyond what a state may have, and just within
        task = await attacker.begin("nobody")
        if task is None:
            continue
        queue = next(attacker.ids)
        await attacker.answer(task, _activities(count, queue))
        for _ in range(count):
            activity = await attacker.activity(queue)
            if activity is None or not activity.task_token:
                break
            beat = service.RecordActivityTaskHeartbeatRequest(task_token=activity.task_token, details=details)
            if await attacker.ask(beat) is None:
                break
        signal = service.SignalWorkflowExecutionRequest(namespace="default", signal_name="go")
        signal.workflow_execution.CopyFrom(task.workflow_execution)
        for _ in range(50):
            if await attacker.ask(signal) is None:
                break


# --- 8: counts whose client has gone --------------------------------------------------------------


async def make_runs(attacker: Attacker) -> None:
    for _ in range(30):
        await asyncio.gather(*[attacker.ask(attacker.start_request("nobody")) for _ in range(100)])


async def count_and_go(attacker: Attacker) -> None:
    query = " OR ".join(f"ExecutionDuration > '{number}h'" for number in range(240))
    request = service.CountWorkflowExecutionsRequest(namespace="default", query=query)
    while True:
        await asyncio.gather(*[attacker.ask(request, timeout=1) for _ in range(10)])


# --- 9: hundreds of thousands of keys -------------------------------------------------------------


async def send_keys(attacker: Attacker) -> None:
    while True:
        request = attacker.start_request()
        for number in range(300_000):
            request.header.fields[f"k{number}"].data = b""
        await attacker.ask(request)
        request = attacker.start_request()
        for number in range(150_000):
            request.memo.fields[f"k{number}"].data = b""
        await attacker.ask(request)


# --- 12: answers of very many commands ------------------------------------------------------------


async def record_markers(attacker: Attacker) -> None:
    marker = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    marker.record_marker_command_attributes.marker_name = "m"
    for count in itertools.cycle((100_000, 40_000)):
        task = await attacker.begin()
        if task is None:
            continue
        await attacker.answer(task, [marker] * count)
        request = service.GetWorkflowExecutionHistoryRequest(namespace="default", execution=task.workflow_execution)
        for _ in range(20):
            page = await attacker.ask(request)
            if page is None or not page.next_page_token:
                break
            request.next_page_token = page.next_page_token


# --- 13: very many schedules of a second ----------------------------------------------------------


async def make_many_schedules(attacker: Attacker) -> None:
    async def make() -> None:
        await attacker.ask(
            service.CreateScheduleRequest(
                namespace="default",
                schedule_id=next(attacker.ids),
                schedule=_every_second(),
                request_id=uuid.uuid4().hex,
            )
        )

    for _ in range(16):
        await asyncio.gather(*[make() for _ in range(100)])


Attack = tuple[Callable[[Attacker], Awaitable[None]], Callable[[Attacker], Awaitable[None]]]

ATTACKS: dict[str, Attack] = {
    "0 nobody attacks": (nothing, rest),
    "1 filters": (nothing, read_filters),
    "2 schedules that exclude": (nothing, ask_for_times),
    "3 numbers": (nothing, send_numbers),
    "4 deep failures": (nothing, fail_deeply),
    "5 lists not read": (make_large_memos, list_and_not_read),
    "6 heartbeats": (nothing, beat_and_signal),
    "8 counts": (make_runs, count_and_go),
    "9 keys": (nothing, send_keys),
    "12 commands": (nothing, record_markers),
    "13 schedules of a second": (make_many_schedules, rest),
}
"""By the number of the finding that they come from."""


async def _attack(name: str, target: str) -> None:
    prepare, strike = ATTACKS[name]
    attacker = Attacker(target)
    await prepare(attacker)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await strike(attacker)


if __name__ == "__main__":
    asyncio.run(_attack(sys.argv[1], sys.argv[2]))
