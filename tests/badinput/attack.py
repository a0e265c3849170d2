"""A world whose RPCs are all asked for, thousands of times, with requests that nobody should send.

python -m tests.badinput --inputs 100000 --seed 7

What is found is printed with the seed and the number of the input, which reproduce it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import Message
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice import v1 as service

from perdure.api.bounds import check_of
from perdure.api.errors import Rejected, StatusCode
from perdure.core.search_attributes import TYPE_NAMES
from perdure.engine import Engine, EngineConfig, TimeOrderedIds
from perdure.frontend import WorkflowService
from perdure.frontend.operator_service import OperatorService
from perdure.frontend.rpcs import OPERATOR_SERVICE, WORKFLOW_SERVICE, Rpc, rpcs
from perdure.stores.api import Store
from perdure.stores.memory import MemoryStore
from perdure.stores.sqlite.store import SqliteStore
from perdure.testing import VirtualClock, VirtualTimeLoop, run_virtual
from tests.badinput.requests import ATTRIBUTES, QUEUES, SCHEDULES, WORKFLOWS, Maker
from tests.engine.world import complete, completion, history, names, schedule, start_request, workflow_poll

FORBIDDEN = frozenset(
    {StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.UNAVAILABLE, StatusCode.DATA_LOSS, StatusCode.CANCELLED}
)
"""Codes that say that the server is to blame."""
CANARY_EVERY = 250
HANG_S = 600.0
_TROUBLES = ("store_errors", "decision_errors", "parked_messages", "parked_records")
"""What an engine counts that should never happen."""
_MS = 1_000_000
_FINDINGS_MAX = 25


@dataclass
class Report:
    """What came of an attack."""

    inputs: int = 0
    codes: Counter[str] = field(default_factory=Counter[str])
    findings: list[str] = field(default_factory=list[str])
    histories: int = 0


class _Log(logging.Handler):
    """Collects what a server's log must not have: errors, and tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
            self.found.append(f"logged: {record.getMessage()}\n{trace}")


class Attack:
    """One engine under fire."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.report = Report()
        self._engine = engine
        self._rpcs = WorkflowService(engine)
        self._operator = OperatorService(engine)
        self._dice = random.Random(seed)
        self._seed = seed
        self._maker = Maker(self._dice, self._fresh)
        self._served = [
            rpc
            for rpc in rpcs({WORKFLOW_SERVICE: self._rpcs, OPERATOR_SERVICE: self._operator})
            if rpc.handler is not None
        ]
        # Most of all those with numbers and maps in them.
        self._weights = [1 if check_of(rpc.request.DESCRIPTOR) is None else 5 for rpc in self._served]
        self._tokens: dict[str, list[bytes]] = {}
        self._runs: list[str] = []
        self._count = 0
        self._troubles_before = dict.fromkeys(_TROUBLES, 0)

    async def run(self, inputs: int, log: _Log) -> Report:
        """Ask, and see between whiles that the honest are served."""
        await self._prepare()
        for number in range(inputs):
            [rpc] = self._dice.choices(self._served, self._weights)
            await self._prepare_for(rpc)
            request = self._maker.request(rpc.request)
            if self._dice.random() < 0.9:
                self._maker.spoil(request)
            await self._ask(rpc, request, number)
            if rpc.name in ("CreateSchedule", "UpdateSchedule", "PatchSchedule"):
                await self._let_it_act(request)
            for found in [*log.found, *self._troubles()]:
                self._found(number, rpc, request, found)
            log.found.clear()
            if number % CANARY_EVERY == 0:
                await self._canary(number)
                await self._prepare()
            if len(self.report.findings) >= _FINDINGS_MAX:
                break
        self.report.inputs = inputs
        await self._canary(inputs)
        await self._read_everything()
        return self.report

    def _troubles(self) -> list[str]:
        """What was refused, or given up, only by core or the store: it should not have come so far."""
        metrics, before = self._engine.metrics(), self._troubles_before
        now = {name: getattr(metrics, name) for name in before}
        self._troubles_before = now
        return [f"{name}: {now[name] - before[name]} more" for name in now if now[name] > before[name]]

    async def _ask(self, rpc: Rpc, request: Any, number: int) -> None:
        assert rpc.handler is not None
        try:
            response = await asyncio.wait_for(self._call(rpc, request), HANG_S)
        except Rejected as refused:
            self.report.codes[refused.code.name] += 1
            if refused.code in FORBIDDEN:
                self._found(number, rpc, request, f"{refused.code.name}: {refused.message}")
        except Exception:
            self._found(number, rpc, request, traceback.format_exc())
        else:
            self.report.codes["OK"] += 1
            self._learn(response)

    async def _call(self, rpc: Rpc, request: Any) -> Message:
        """As a transport does: the request has been on the wire, and the answer goes there."""
        assert rpc.handler is not None
        response = await rpc.handler(rpc.request.FromString(request.SerializeToString()))
        return rpc.response.FromString(response.SerializeToString())

    def _found(self, number: int, rpc: Rpc, request: Any, what: str) -> None:
        shown = str(request)[:3000]
        self.report.findings.append(f"--seed {self._seed}, input {number}: {rpc.name}\n{what}\n{shown}")

    # --- the world ------------------------------------------------------------------------------

    def _fresh(self, name: str) -> str | bytes | None:
        self._count += 1
        if name.endswith("task_token"):
            known = self._tokens.get(name)
            return known[-1] if known else None
        if name == "next_page_token":
            known = self._tokens.get(name)
            return self._dice.choice(known) if known and self._dice.random() < 0.5 else b""
        if name == "namespace":
            return "default" if self._dice.random() < 0.97 else self._dice.choice(("", "elsewhere", "spare"))
        if name == "run_id":
            return self._dice.choice([*self._runs[-20:], ""]) if self._dice.random() < 0.3 else ""
        if name == "request_id" or name == "update_id":
            return f"request-{self._count if self._dice.random() < 0.8 else 1}"
        if name.endswith(("StartWorkflowExecutionRequest.workflow_id", "CreateScheduleRequest.schedule_id")):
            return f"new-{self._count}" if self._dice.random() < 0.6 else None
        choices = _NAMES.get(name)
        return self._dice.choice(choices) if choices else None

    def _learn(self, response: Any) -> None:
        token = getattr(response, "next_page_token", b"")
        if token:
            kept = self._tokens.setdefault("next_page_token", [])
            kept.append(token)
            del kept[:-20]
        run_id = getattr(response, "run_id", "")
        if run_id:
            self._runs.append(run_id)

    async def _prepare(self) -> None:
        """There are workflows to ask about, and attributes to set."""
        kinds = {name: number for number, name in TYPE_NAMES.items()}
        wanted: Any = {name: kinds[kind] for name, kind in ATTRIBUTES.items()}
        adding = self._operator.add_search_attributes
        await adding(AddSearchAttributesRequest(namespace="default", search_attributes=wanted))
        for workflow_id in WORKFLOWS:
            request = start_request(workflow_id)
            request.task_queue.name = self._dice.choice(QUEUES)
            await _let(self._rpcs.start_workflow_execution(request))
        await self._schedule()

    async def _schedule(self) -> None:
        """There are schedules to ask about."""
        for schedule_id in SCHEDULES:
            made = service.CreateScheduleRequest(namespace="default", schedule_id=schedule_id, request_id=schedule_id)
            action = made.schedule.action.start_workflow
            action.workflow_id, action.workflow_type.name, action.task_queue.name = "scheduled", "t", QUEUES[0]
            made.schedule.spec.interval.add().interval.seconds = 3600
            await _let(self._rpcs.create_schedule(made))

    async def _let_it_act(self, request: Any) -> None:
        """A schedule has a moment, and then goes; one that makes up for the past goes at once.

        No time passes here while it has half a century to make up for, and a description waits a second for it.
        """
        name: Any = {"namespace": request.namespace, "schedule_id": request.schedule_id}
        if request.DESCRIPTOR.name != "PatchScheduleRequest" and not _has(request, "initial_patch"):
            await _let(self._rpcs.describe_schedule(service.DescribeScheduleRequest(**name)))
            await asyncio.sleep(1.5)
        await _let(self._rpcs.delete_schedule(service.DeleteScheduleRequest(**name)))
        await self._schedule()

    async def _prepare_for(self, rpc: Rpc) -> None:
        """A task in hand for whoever is to answer one."""
        name = rpc.name
        if "WorkflowTask" in name and name.startswith("Respond"):
            self._tokens[f"{rpc.request.DESCRIPTOR.full_name}.task_token"] = [await self._workflow_task()]
        elif "ActivityTask" in name and not name.startswith("Poll") and not name.endswith("ById"):
            self._tokens[f"{rpc.request.DESCRIPTOR.full_name}.task_token"] = [await self._activity_task()]
        elif name == "RespondQueryTaskCompleted":
            self._tokens[f"{rpc.request.DESCRIPTOR.full_name}.task_token"] = [b"\x92\xa7default\xa1q"]
        elif name in ("UpdateActivityOptions", "PauseActivity", "UnpauseActivity", "ResetActivity") or "ById" in name:
            await self._activity_task(self._dice.choice(WORKFLOWS))

    async def _workflow_task(self, workflow_id: str = "") -> bytes:
        self._count += 1
        queue = f"own-{self._count}"
        request = start_request(workflow_id or f"task-{self._count}")
        request.task_queue.name = queue
        await self._rpcs.start_workflow_execution(request)
        task = await self._rpcs.poll_workflow_task_queue(workflow_poll(queue))
        return task.task_token

    async def _activity_task(self, workflow_id: str = "") -> bytes:
        """Of a workflow of this id, begun anew, or of another one."""
        if workflow_id:
            stop = service.TerminateWorkflowExecutionRequest(namespace="default")
            stop.workflow_execution.workflow_id = workflow_id
            await _let(self._rpcs.terminate_workflow_execution(stop))
        token = await self._workflow_task(workflow_id)
        command = schedule("act")
        command.schedule_activity_task_command_attributes.request_eager_execution = True
        answer = await self._rpcs.respond_workflow_task_completed(completion(token, command))
        return answer.activity_tasks[0].task_token

    # --- the honest -----------------------------------------------------------------------------

    async def _canary(self, number: int) -> None:
        """Somebody else's workflow runs as ever."""
        try:
            async with asyncio.timeout(HANG_S):
                workflow_id = f"canary-{number}"
                token = await self._workflow_task(workflow_id)
                timer = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
                timer.start_timer_command_attributes.timer_id = "t"
                await self._rpcs.respond_workflow_task_completed(completion(token, timer))
                queue = f"own-{self._count}"
                task = await self._rpcs.poll_workflow_task_queue(workflow_poll(queue))
                await self._rpcs.respond_workflow_task_completed(completion(task.task_token, complete()))
                happened = names(await history(self._rpcs, workflow_id))
                assert happened[-1] == "WORKFLOW_EXECUTION_COMPLETED", happened
                assert "TIMER_FIRED" in happened, happened
        except (Rejected, AssertionError, TimeoutError):
            self.report.findings.append(f"--seed {self._seed}, canary {number}:\n{traceback.format_exc()}")

    async def _read_everything(self) -> None:
        """Whatever was stored can be read: histories both ways, descriptions, schedules."""
        for workflow_id, run_id in [pair async for pair in self._executions()]:
            self.report.histories += 1
            try:
                events = await history(self._rpcs, workflow_id, run_id)
                assert [event.event_id for event in events] == list(range(1, len(events) + 1))
                asked = service.DescribeWorkflowExecutionRequest(namespace="default")
                asked.execution.workflow_id, asked.execution.run_id = workflow_id, run_id
                await self._rpcs.describe_workflow_execution(asked)
            except (Rejected, AssertionError) as fault:
                self.report.findings.append(f"--seed {self._seed}, {workflow_id!r} {run_id} cannot be read: {fault!r}")

    async def _executions(self) -> AsyncIterator[tuple[str, str]]:
        token = b""
        for _ in range(10_000):
            page = await self._rpcs.list_workflow_executions(
                service.ListWorkflowExecutionsRequest(namespace="default", next_page_token=token)
            )
            for info in page.executions:
                yield info.execution.workflow_id, info.execution.run_id
            token = page.next_page_token
            if not token:
                return
        raise AssertionError("a list without end")


_NAMES: dict[str, tuple[str, ...]] = {
    "workflow_id": WORKFLOWS,
    "schedule_id": SCHEDULES,
    "activity_id": ("act", "other"),
    "job_id": ("job-0", "job-1"),
    "business_id": WORKFLOWS,
    "temporal.api.taskqueue.v1.TaskQueue.name": QUEUES,
    "temporal.api.workflowservice.v1.UpdateActivityOptionsRequest.id": ("act",),
    "temporal.api.workflowservice.v1.PauseActivityRequest.id": ("act",),
    "temporal.api.workflowservice.v1.ResetActivityRequest.id": ("act",),
    "temporal.api.workflowservice.v1.UnpauseActivityRequest.id": ("act",),
    "temporal.api.workflowservice.v1.ListWorkersRequest.query": ("Status = 'Running'", ""),
    "temporal.api.workflowservice.v1.CountWorkersRequest.query": ("Status != 'ShuttingDown'", ""),
    "pinned_version": ("d.1",),
    "first_execution_run_id": ("",),
    "active_cluster_name": ("",),
    "cluster_name": ("",),
    "timezone_name": ("", "Europe/Berlin"),
    "encoding": ("json/plain",),
    "temporal.api.workflowservice.v1.DescribeNamespaceRequest.id": ("",),
    "temporal.api.workflowservice.v1.UpdateNamespaceRequest.namespace": ("spare",),
    "temporal.api.workflowservice.v1.RegisterNamespaceRequest.namespace": ("spare", "spare2"),
    "temporal.api.workflowservice.v1.DeprecateNamespaceRequest.namespace": ("spare",),
    "temporal.api.operatorservice.v1.DeleteNamespaceRequest.namespace": ("spare2",),
    "temporal.api.operatorservice.v1.DeleteNamespaceRequest.namespace_id": ("",),
    "paths": ("heartbeat_timeout", "retry_policy", "versioning_override", "priority", "retry_policy.maximum_attempts"),
}


async def _let(call: Any) -> None:
    """Whatever comes of it."""
    try:
        await call
    except Rejected as refused:
        if refused.code in FORBIDDEN:
            raise


def _has(message: Any, field: str) -> bool:
    return field in message.DESCRIPTOR.fields_by_name and message.HasField(field)


@asynccontextmanager
async def _engine(loop: VirtualTimeLoop, store: Store, seed: int) -> AsyncIterator[Engine]:
    clock = VirtualClock(loop)
    config = EngineConfig(
        long_poll_ns=20 * _MS, history_wait_ns=20 * _MS, update_wait_ns=20 * _MS, prune_every_ns=3600_000 * _MS
    )
    engine = Engine(store, clock, TimeOrderedIds(clock, random.Random(seed).getrandbits), config)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def attack(inputs: int, seed: int, on_sqlite: bool = True) -> Report:
    """So many inputs against a store of its own."""
    log = _Log()
    logger = logging.getLogger("perdure")
    logger.addHandler(log)
    propagates, logger.propagate = logger.propagate, False
    try:
        with tempfile.TemporaryDirectory() as directory:
            store = cast(Store, SqliteStore(Path(directory) / "attacked.db") if on_sqlite else MemoryStore())

            async def scenario(loop: VirtualTimeLoop) -> Report:
                async with _engine(loop, store, seed) as engine:
                    report = await Attack(engine, seed).run(inputs, log)
                report.findings += log.found
                return report

            return run_virtual(scenario)
    finally:
        logger.removeHandler(log)
        logger.propagate = propagates
