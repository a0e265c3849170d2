"""What a decision of the law costs: CPU microseconds per commit of a typical workflow, store and engine left out.

`python -m benchmarks.core_micro`. The least of many short rounds is shown, so that a busy machine disturbs little.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import Command, CompleteWorkflowExecutionCommandAttributes
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice.v1 import (
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    StartWorkflowExecutionRequest,
)

from perdure.api.history import encode_batch
from perdure.core import commands as law
from perdure.core.commit import Commit
from perdure.core.context import Context
from perdure.core.execution import decide, encode
from perdure.core.tokens import decode_token

ACTIVITIES = 4
ROUNDS = 40
WORKFLOWS_PER_ROUND = 50


class _Worker:
    identity = "1234@host"
    home = ""


def _payload() -> Payloads:
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b'{"order": 1001}')])


def _schedule(number: int) -> RespondWorkflowTaskCompletedRequest:
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = str(number)
    attributes.activity_type.name = "charge_payment"
    attributes.task_queue.name = "default"
    attributes.start_to_close_timeout.CopyFrom(Duration(seconds=30))
    attributes.input.CopyFrom(_payload())
    return RespondWorkflowTaskCompletedRequest(identity=_Worker.identity, commands=[command])


def _complete() -> RespondWorkflowTaskCompletedRequest:
    attributes = CompleteWorkflowExecutionCommandAttributes(result=_payload())
    command = Command(
        command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
        complete_workflow_execution_command_attributes=attributes,
    )
    return RespondWorkflowTaskCompletedRequest(identity=_Worker.identity, commands=[command])


class Round:
    """Many workflows, one after another; CPU time by kind of step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        ids = itertools.count()
        self.worker = _Worker()
        self.context = Context(1_700_000_000_123_456_789, lambda: f"0190f6d5-0000-7000-8000-{next(ids):012d}")

    def timed(self, step: str, call: Callable[[], Any]) -> Any:
        began = time.thread_time()
        result = call()
        self.seconds[step] = self.seconds.get(step, 0) + time.thread_time() - began
        self.counts[step] = self.counts.get(step, 0) + 1
        return result

    def step(self, name: str, execution: Any, command: law.Command) -> Commit:
        commit = self.timed(name, lambda: self._decide(execution, command))
        self.timed("snapshot", lambda: encode(commit.execution))
        self.timed("history batch", lambda: encode_batch(commit.encoded))
        return commit

    def _decide(self, execution: Any, command: law.Command) -> Commit:
        decision = decide(execution, [command], self.context)
        return decision.settle([self.worker] * len(decision.queued))

    def workflow(self) -> None:
        request = StartWorkflowExecutionRequest(namespace="default", workflow_id="order-1001", request_id="r")
        request.workflow_type.name = "order"
        request.task_queue.name = "default"
        request.input.CopyFrom(_payload())
        commit = self.step("start", None, law.StartWorkflow(request))
        execution = commit.execution
        for number in range(ACTIVITIES):
            token = decode_token(commit.dispatches[0].task.token)
            commit = self.step("workflow task", execution, law.CompleteWorkflowTask(token, _schedule(number)))
            token = decode_token(commit.dispatches[0].task.token)
            done = RespondActivityTaskCompletedRequest(identity=_Worker.identity, result=_payload())
            commit = self.step("activity", execution, law.CompleteActivity(token, done))
        token = decode_token(commit.dispatches[0].task.token)
        self.step("complete", execution, law.CompleteWorkflowTask(token, _complete()))


def main() -> None:
    best: dict[str, float] = {}
    counts: dict[str, int] = {}
    for _ in range(ROUNDS):
        measured = Round()
        for _ in range(WORKFLOWS_PER_ROUND):
            measured.workflow()
        counts = measured.counts
        for step, seconds in measured.seconds.items():
            best[step] = min(best.get(step, seconds), seconds)
    for step, seconds in best.items():
        print(f"{step:15} {seconds / counts[step] * 1e6:6.1f} µs")
    decisions = ("start", "workflow task", "activity", "complete")
    print(f"whole workflow, decisions only: {sum(best[s] for s in decisions) / WORKFLOWS_PER_ROUND * 1e6:6.0f} µs")


if __name__ == "__main__":
    main()
