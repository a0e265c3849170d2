"""Our histories are Temporal's: every scenario, event by event, against what the real server recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.protocol.v1 import Message
from temporalio.api.taskqueue.v1 import StickyExecutionAttributes, TaskQueue

from perdure.api import enums
from perdure.api.errors import Rejected
from perdure.core import commands as law
from tests.core import given
from tests.core.plain import ORACLE, plain_activity_task, plain_history, plain_update, plain_workflow_task
from tests.core.post import Post
from tests.core.scenarios import SCENARIOS
from tests.core.scenarios_outside import OUTSIDE_SCENARIOS


class CoreStage:
    """Plays a scenario on `decide` alone, on an injected clock."""

    def __init__(self) -> None:
        self.post = Post()
        self.world = self.post.world("order-1001")
        self.refusals: list[str] = []
        self.tasks: list[dict[str, Any]] = []
        self.messages: Sequence[Message] = ()

    def update(self, update_id: str) -> None:
        self.world.update(update_id)

    def message(self, update_id: str) -> Message:
        [message] = [told for told in self.messages if told.protocol_instance_id == update_id]
        return message

    @property
    def updates(self) -> dict[str, str]:
        plain: dict[str, str] = {}
        for update_id, news in self.world.news.items():
            refused = news if isinstance(news, Rejected) else news.refusal
            if refused is not None:
                plain[update_id] = f"{refused.code.name}: {refused.message}"
            elif not isinstance(news, Rejected):
                plain[update_id] = plain_update(news.stage, news.outcome)
        return plain

    def start(self, **fields: Any) -> None:
        self.world.start(**fields)

    def _until(self, take: Any) -> Any:
        """What a long poll does: the task may come with a later deadline."""
        for _ in range(10):
            try:
                return take()
            except AssertionError:
                wake_at_ns = self.world.run.wake_at_ns
                assert wake_at_ns is not None
                self.world.now_ns = max(self.world.now_ns, wake_at_ns)
                self.world.when(law.Wake())
        return take()

    def workflow_task(self, queue: str = "queue") -> Any:
        task = self._until(lambda: self.world.workflow_task(queue))
        events = self.world.history + task.transient_events
        self.tasks.append(
            plain_workflow_task(
                task.attempt, task.previous_started_event_id, task.started_event_id, events, task.messages
            )
        )
        self.messages = task.messages
        return task

    def activity_task(self, activity_id: str = "1") -> Any:
        task = self._until(lambda: self.world.activity_task(activity_id))
        self.tasks.append(plain_activity_task(task.attempt, Payloads.FromString(task.heartbeat_details)))
        return task

    def complete_task(
        self,
        token: Any,
        *commands: Command,
        sticky: bool = False,
        force: bool = False,
        messages: Sequence[Message] = (),
    ) -> None:
        commands = (*given.message_commands(messages), *commands)
        fields: dict[str, Any] = {"force_create_new_workflow_task": force, "messages": messages}
        if sticky:
            queue = TaskQueue(name="sticky", kind=enums.QUEUE_STICKY, normal_name="queue")
            fields["sticky_attributes"] = StickyExecutionAttributes(
                worker_task_queue=queue, schedule_to_start_timeout=given.seconds(1)
            )
        self.world.complete_task(token, *commands, **fields)

    def refused_task(self, token: Any, *commands: Command, messages: Sequence[Message] = ()) -> None:
        commands = (*given.message_commands(messages), *commands)
        rejected = given.refused(lambda: self.world.complete_task(token, *commands, messages=messages))
        self.refusals.append(f"{rejected.code.name}: {rejected.message}")

    def fail_task(self, token: Any) -> None:
        self.world.fail_task(token)

    def complete_activity(self, token: Any) -> None:
        self.world.complete_activity(token)

    def fail_activity(self, token: Any, why: Failure) -> None:
        self.world.fail_activity(token, why)

    def report_canceled(self, token: Any) -> None:
        self.world.report_canceled(token)

    def heartbeat(self, token: Any) -> bool:
        return self.world.heartbeat(token)

    def cancel(self) -> None:
        self.world.cancel()

    def terminate(self) -> None:
        self.world.terminate()

    def elapse(self, seconds: float) -> None:
        for world in list(self.post.worlds.values()):
            world.elapse(seconds)
        self.settle()

    def signal(self, **fields: Any) -> None:
        self.world.ask(law.Signal(given.signal_request(**fields)))

    def refused_signal(self, **fields: Any) -> None:
        rejected = given.refused(lambda: self.signal(**fields))
        self.refusals.append(f"{rejected.code.name}: {rejected.message}")

    def signal_with_start(self, **fields: Any) -> None:
        self.world.ask(law.SignalWithStart(given.with_start_request(**fields)))

    def settle(self) -> None:
        self.post.deliver_all()

    def other_task(self, workflow_id: str = "kid") -> Any:
        return self.post.worlds[workflow_id].workflow_task("kid")

    def complete_other(self, token: Any, *commands: Command) -> None:
        self.post.worlds[token.key.workflow_id].complete_task(token, *commands)

    def start_other(self, workflow_id: str = "kid") -> None:
        request = given.start_request(workflow_id=workflow_id)
        request.task_queue.name = "kid"
        self.post.world(workflow_id).ask(law.StartWorkflow(request))

    def terminate_other(self, workflow_id: str = "kid") -> None:
        self.post.worlds[workflow_id].terminate()


ALL: dict[str, Callable[[Any], None]] = {**SCENARIOS, **OUTSIDE_SCENARIOS}


IDENTITY_LOST = {
    "event_comes_during_the_updates_task",
    "updates_task_times_out",
    "updates_task_times_out_again_and_again",
    "terminated_during_the_updates_task",
}
"""When something else than its own end puts a speculative task into history, the real server writes that one's identity
(or none) into WorkflowTaskStarted; ours is the worker's."""


@pytest.mark.parametrize("name", ALL)
def test_history_is_what_the_real_server_recorded(name: str) -> None:
    stage = CoreStage()
    ALL[name](stage)
    recorded = json.loads((ORACLE / f"{name}.json").read_text())
    ours = [plain_history(events) for _, events in stage.world.runs]
    worlds = stage.post.worlds.items()
    others = {name: [plain_history(events) for _, events in world.runs] for name, world in worlds if world.runs}
    del others["order-1001"]
    assert stage.refusals == recorded["refusals"]
    assert stage.tasks == recorded["tasks"]
    assert stage.updates == recorded.get("updates", {})
    assert len(ours) == len(recorded["runs"])
    for run, expected in zip(ours, recorded["runs"], strict=True):
        assert [event["event_type"] for event in run] == [event["event_type"] for event in expected]
        for event, other in zip(run, expected, strict=True):
            if name in IDENTITY_LOST:
                for one in (event, other):
                    one.get("workflow_task_started_event_attributes", {}).pop("identity", None)
            assert event == other
    assert others == recorded.get("others", {})


def test_every_recording_belongs_to_a_scenario() -> None:
    assert {path.stem for path in ORACLE.glob("*.json")} == set(ALL)
