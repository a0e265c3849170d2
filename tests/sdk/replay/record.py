"""Records the histories in `histories/` anew, on a real Temporal server, with the machine as its worker.

    .venv/bin/temporal server start-dev --headless --ip 127.0.0.1 --port 7461 &
    .venv/bin/python -m tests.sdk.replay.record 127.0.0.1:7461 [name ...]

The worker below is as small as a worker can be: one task at a time, sticky, raw RPCs of the official client.
At each task it replays the whole history on a second machine, too, and both must agree.

`mutants.py` names events of the order workflows by their numbers: two activities at once may be answered in one
task or in two, so a history recorded anew may need other numbers there.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import uuid
from typing import Any

from google.protobuf import json_format
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType, TaskQueueKind
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import History
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RequestCancelWorkflowExecutionRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from perdure.sdk.convert import failure_of
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.replay.machine import WorkflowMachine
from tests.sdk.replay import orders, scenes
from tests.sdk.replay.given import CONVERTER
from tests.sdk.replay.stored import FOLDER, NAMES

ACTIVITIES = {**orders.ACTIVITIES, **scenes.ACTIVITIES}
LEFT_OUT = {
    "binaryChecksum", "buildId", "deploymentVersion", "identity", "meteringMetadata", "requestId", "sdkMetadata",
    "stackTrace", "taskId", "workerMayIgnore", "workerVersion",
}  # fmt: skip


class Recorder:
    """Runs one workflow on the server and keeps its history."""

    def __init__(self, client: Client, definition: AnyWorkflow) -> None:
        self.service = client.workflow_service
        self.definition = definition
        self.queue = f"record-{uuid.uuid4().hex[:8]}"
        self.sticky_queue = f"{self.queue}-sticky"
        self.execution = WorkflowExecution(workflow_id=f"record-{uuid.uuid4().hex}")
        self.machine = self.new_machine()

    def new_machine(self) -> WorkflowMachine:
        return WorkflowMachine(self.definition, CONVERTER, namespace="default", task_queue=self.queue)

    async def record(self) -> History:
        request = StartWorkflowExecutionRequest(
            namespace="default", workflow_id=self.execution.workflow_id, request_id=uuid.uuid4().hex
        )
        request.workflow_type.name = self.definition.name
        request.task_queue.name = self.queue
        request.input.payloads.extend(CONVERTER.to_payloads(("o-1",)))
        self.execution.run_id = (await self.service.start_workflow_execution(request)).run_id
        async with asyncio.TaskGroup() as group:
            workers = [
                group.create_task(self.work_on_workflow(self.queue)),
                group.create_task(self.work_on_workflow(self.sticky_queue)),
                group.create_task(self.work_on_activities(group)),
            ]
            if self.definition.name.startswith("cancelled"):
                group.create_task(self.cancel_soon())
            await self.closing()
            for worker in workers:
                worker.cancel()
        return await self.history()

    async def history(self) -> History:
        request = GetWorkflowExecutionHistoryRequest(
            namespace="default", execution=self.execution, maximum_page_size=1000
        )
        return (await self.service.get_workflow_execution_history(request)).history

    async def closing(self) -> None:
        request = GetWorkflowExecutionHistoryRequest(
            namespace="default",
            execution=self.execution,
            wait_new_event=True,
            history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        while not (response := await self.service.get_workflow_execution_history(request)).history.events:
            request.next_page_token = response.next_page_token

    async def cancel_soon(self) -> None:
        await asyncio.sleep(1)
        request = RequestCancelWorkflowExecutionRequest(
            namespace="default", workflow_execution=self.execution, reason="enough"
        )
        await self.service.request_cancel_workflow_execution(request)

    async def work_on_workflow(self, queue: str) -> None:
        request = PollWorkflowTaskQueueRequest(namespace="default")
        request.task_queue.name = queue
        if queue == self.sticky_queue:
            request.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_STICKY
            request.task_queue.normal_name = self.queue
        while True:
            task = await self.service.poll_workflow_task_queue(request)
            if task.task_token:
                await self.answer(task)

    async def answer(self, task: PollWorkflowTaskQueueResponse) -> None:
        outcome = self.machine.process(task)
        whole = PollWorkflowTaskQueueResponse(workflow_execution=task.workflow_execution)
        whole.history.events.extend((await self.history()).events[: task.started_event_id])
        cold = self.new_machine()
        assert cold.process(whole) == outcome, "cold and sticky differ"
        cold.close()
        assert outcome.failure is None, outcome.failure
        answer = RespondWorkflowTaskCompletedRequest(namespace="default", task_token=task.task_token)
        answer.commands.extend(outcome.commands)
        sticky = answer.sticky_attributes
        sticky.worker_task_queue.name = self.sticky_queue
        sticky.worker_task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_STICKY
        sticky.worker_task_queue.normal_name = self.queue
        sticky.schedule_to_start_timeout.seconds = 5
        await self.service.respond_workflow_task_completed(answer)

    async def work_on_activities(self, group: asyncio.TaskGroup) -> None:
        request = PollActivityTaskQueueRequest(namespace="default")
        request.task_queue.name = self.queue
        while True:
            task = await self.service.poll_activity_task_queue(request)
            if task.task_token:
                group.create_task(self.run(task))

    async def run(self, task: PollActivityTaskQueueResponse) -> None:
        try:
            await self.attempt(task)
        except RPCError as error:
            # Some scenes give an activity up, and the server then refuses what is left of it.
            print(f"  {task.activity_type.name}: {error.message}")  # noqa: T201 - a script

    async def attempt(self, task: PollActivityTaskQueueResponse) -> None:
        token = task.task_token
        try:
            result: Any = ACTIVITIES[task.activity_type.name].fn(*CONVERTER.from_payloads(task.input.payloads))
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            failed = RespondActivityTaskFailedRequest(namespace="default", task_token=token, failure=_failure(error))
            await self.service.respond_activity_task_failed(failed)
            return
        if result == "CANCEL":
            beat = RecordActivityTaskHeartbeatRequest(namespace="default", task_token=token)
            while not (await self.service.record_activity_task_heartbeat(beat)).cancel_requested:  # noqa: ASYNC110 - asked for
                await asyncio.sleep(0.1)
            cancelled = RespondActivityTaskCanceledRequest(namespace="default", task_token=token)
            await self.service.respond_activity_task_canceled(cancelled)
            return
        completed = RespondActivityTaskCompletedRequest(namespace="default", task_token=token)
        completed.result.payloads.extend(CONVERTER.to_payloads((result,)))
        await self.service.respond_activity_task_completed(completed)


def _failure(error: Exception) -> Failure:
    return failure_of(error, CONVERTER)


def stripped(value: Any) -> Any:
    """Without what differs from machine to machine and matters to nobody."""
    if isinstance(value, dict):
        return {key: stripped(inner) for key, inner in value.items() if key not in LEFT_OUT}
    return [stripped(inner) for inner in value] if isinstance(value, list) else value


async def main(address: str, names: list[str]) -> None:
    """Record the named histories, or all."""
    client = await Client.connect(address)
    for name in names or NAMES:
        history = await Recorder(client, getattr(orders, name, None) or getattr(scenes, name)).record()
        events = stripped(json_format.MessageToDict(history))["events"]
        lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
        (FOLDER / f"{name}.json").write_text(f'{{"events": [\n{lines}\n]}}\n', encoding="utf-8")
        print(f"{name}: {len(events)} events")  # noqa: T201 - a script


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
