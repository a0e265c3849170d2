"""What a commit costs in engine and front end, without the SDK.

A worker written by hand plays workflows of four activities over `WorkflowService`: it looks at no
payload and replays nothing, so what is measured is the engine, core, the store, and the protobuf
messages between them.

    python -m benchmarks.engine_micro --workflows 5000 --concurrency 200 --store sqlite --profile
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType, HistoryEventFilterType
from temporalio.api.workflowservice import v1 as service

from perdure.engine import Engine
from perdure.frontend import WorkflowService
from perdure.stores.api import Store
from perdure.stores.memory import MemoryStore

STEPS = 4
QUEUE = "bench"
STICKY = "bench-sticky"
COMPLETE = CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION
SCHEDULE = CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK
CLOSE_EVENT = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED


class Worker:
    """Polls with as many coroutines as it is told; remembers how far each run is, as a sticky worker does."""

    def __init__(self, connection: WorkflowService, pollers: int) -> None:
        self._connection = connection
        self._done: Counter[str] = Counter()
        self._pollers = pollers
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for _ in range(self._pollers):
            self._tasks.append(asyncio.create_task(self._poll_workflows(QUEUE)))
            self._tasks.append(asyncio.create_task(self._poll_workflows(STICKY)))
            self._tasks.append(asyncio.create_task(self._poll_activities()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _poll_workflows(self, queue: str) -> None:
        request = service.PollWorkflowTaskQueueRequest(namespace="default", identity="bench")
        request.task_queue.name = queue
        while True:
            task = await self._connection.poll_workflow_task_queue(request)
            if not task.task_token:
                continue
            run_id = task.workflow_execution.run_id
            self._done[run_id] += sum(event.event_type == COMPLETED for event in task.history.events)
            answer = service.RespondWorkflowTaskCompletedRequest(task_token=task.task_token)
            answer.sticky_attributes.worker_task_queue.name = STICKY
            answer.sticky_attributes.schedule_to_start_timeout.seconds = 5
            answer.commands.append(_next_command(self._done[run_id]))
            await self._connection.respond_workflow_task_completed(answer)

    async def _poll_activities(self) -> None:
        request = service.PollActivityTaskQueueRequest(namespace="default", identity="bench")
        request.task_queue.name = QUEUE
        while True:
            task = await self._connection.poll_activity_task_queue(request)
            if task.task_token:
                answer = service.RespondActivityTaskCompletedRequest(task_token=task.task_token)
                answer.result.payloads.add(metadata={"encoding": b"json/plain"}, data=b'"receipt-1234567890"')
                await self._connection.respond_activity_task_completed(answer)


def _next_command(done: int) -> Command:
    if done == STEPS:
        command = Command(command_type=COMPLETE)
        command.complete_workflow_execution_command_attributes.result.payloads.add(data=b'"done"')
        return command
    command = Command(command_type=SCHEDULE)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = str(done + 1)
    attributes.activity_type.name = "step"
    attributes.task_queue.name = QUEUE
    attributes.start_to_close_timeout.seconds = 30
    attributes.input.payloads.add(metadata={"encoding": b"json/plain"}, data=b'{"order": 1001, "amount": 42}')
    return command


async def _one(connection: WorkflowService, workflow_id: str) -> None:
    request = service.StartWorkflowExecutionRequest(
        namespace="default", workflow_id=workflow_id, request_id=workflow_id
    )
    request.workflow_type.name = "order"
    request.task_queue.name = QUEUE
    request.input.payloads.add(metadata={"encoding": b"json/plain"}, data=b'{"order": 1001, "amount": 42}')
    started = await connection.start_workflow_execution(request)
    close = service.GetWorkflowExecutionHistoryRequest(
        namespace="default",
        wait_new_event=True,
        history_event_filter_type=CLOSE_EVENT,
    )
    close.execution.workflow_id = workflow_id
    close.execution.run_id = started.run_id
    while not (await connection.get_workflow_execution_history(close)).history.events:
        pass


async def _load(connection: WorkflowService, first: int, count: int, concurrency: int) -> list[float]:
    numbers = iter(range(first, first + count))
    latencies: list[float] = []

    async def lane() -> None:
        for number in numbers:
            begin = time.perf_counter()
            await _one(connection, f"order-{number}")
            latencies.append(time.perf_counter() - begin)

    await asyncio.gather(*(lane() for _ in range(concurrency)))
    return sorted(latencies)


def _store(kind: str, path: Path) -> Store:
    if kind == "memory":
        return MemoryStore()
    from perdure.stores.sqlite import SqliteStore

    return SqliteStore(path)


async def _measure(options: argparse.Namespace, directory: str) -> None:
    store = _store(options.store, Path(directory) / "bench.db")
    engine = Engine(store)
    await engine.start()
    connection = WorkflowService(engine)
    worker = Worker(connection, options.pollers)
    worker.start()
    await _load(connection, 0, 200, min(50, options.concurrency))
    metrics = engine.metrics()
    commits = metrics.commits
    sampler = Sampler() if options.profile else None
    wall, cpu = time.perf_counter(), time.process_time()
    if sampler:
        sampler.start()
    latencies = await _load(connection, 1_000, options.workflows, options.concurrency)
    if sampler:
        sampler.stop()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    commits = engine.metrics().commits - commits
    print(
        f"{options.store}: {options.workflows / wall:,.0f} workflows/s, {commits / options.workflows:.1f} commits each,"
        f" CPU {cpu / commits * 1e6:.1f} us a commit, {cpu / options.workflows * 1e6:.0f} us a workflow, "
        f"p50 {latencies[len(latencies) // 2] * 1e3:.2f} ms, p99 {latencies[len(latencies) * 99 // 100] * 1e3:.2f} ms"
    )
    print(metrics)
    await worker.stop()
    await engine.stop()
    if sampler:
        sampler.report(cpu / commits * 1e6)


class Sampler:
    """Looks every millisecond of CPU time which function runs: cheap enough not to distort what it measures.

    Time in C is that of the Python function that called it.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._functions: Counter[str] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _: int, frame: FrameType | None) -> None:
        if frame is not None:
            file, name = frame.f_code.co_filename, frame.f_code.co_qualname
            part = file.split("/perdure/")[1].split("/")[0] if "/perdure/" in file else Path(file).parent.name
            self._seen[part] += 1
            self._functions[f"{part}/{Path(file).name} {name}"] += 1

    def report(self, us_per_commit: float) -> None:
        """Share of each part and function in the CPU time of a commit."""
        total = self._seen.total()
        for part, count in self._seen.most_common(10):
            print(f"{count / total * us_per_commit:8.2f} us a commit  {part}")
        for name, count in self._functions.most_common(45):
            print(f"{count / total * us_per_commit:8.2f} us a commit  {name}")


def main() -> None:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=3_000)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--pollers", type=int, default=100)
    parser.add_argument("--store", choices=("memory", "sqlite"), default="memory")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_measure(options, directory))


if __name__ == "__main__":
    main()
