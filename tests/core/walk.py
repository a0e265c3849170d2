"""Random walks through the law: a list of small integers is a play, and the same list is the same play.

Every commit on the way is held to the laws by `World`: the fold, the snapshot, the invariants, the
rows; a refused command changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from temporalio.api.command.v1 import Command
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import StickyExecutionAttributes, TaskQueue
from temporalio.api.workflowservice.v1 import (
    RecordActivityTaskHeartbeatRequest,
    RequestCancelWorkflowExecutionRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    TerminateWorkflowExecutionRequest,
)

from perdure.api import enums
from perdure.core import commands as law
from perdure.core.message import ChildClosed
from perdure.core.names import TaskKind
from perdure.core.replies import WorkflowTaskCompleted
from perdure.core.started import StartedActivityTask, StartedWorkflowTask
from perdure.core.tokens import decode_token
from tests.core import given, walk_updates
from tests.core.given import World
from tests.core.post import cancel_external, signal_external, start_child

Step = tuple[int, int, int]
"""(what, which, how): each is taken modulo the choices there are."""


class Walker:
    """A client, workers, pollers and a clock that do what the integers say, sensible or not."""

    def __init__(self) -> None:
        self.world = World()
        self.seen = 0
        self.requests = 0
        self.workflow_tasks: list[StartedWorkflowTask] = []
        self.activity_tasks: list[StartedActivityTask] = []
        self.batch: list[law.Command] | None = None

    def walk(self, steps: Sequence[Step]) -> World:
        self.do(self.start(0, 0))
        for what, which, how in steps:
            if self.world.execution is not None:
                self.step(what, which, how)
        self.flush()
        return self.world

    def step(self, what: int, which: int, how: int) -> None:
        choices: list[Callable[[int, int], law.Command | None]] = [
            self.poll,
            self.poll,
            self.poll,
            self.wait,
            self.complete_task,
            self.complete_task,
            self.complete_task,
            self.complete_activity,
            self.complete_activity,
            self.fail_activity,
            self.elapse,
            self.elapse,
            self.fail_task,
            self.heartbeat,
            self.report_canceled,
            self.cancel,
            self.wake,
            self.gather,
            self.lose_workers,
            self.start,
            self.terminate,
            self.signal,
            self.signal_with_start,
            self.answer,
            self.answer,
            self.update,
            self.update,
            self.control,
            self.pause,
            self.set_clock,
        ]
        command = choices[what % len(choices)](which, how)
        if command is not None:
            self.do(command)

    def do(self, command: law.Command) -> None:
        if self.batch is not None:
            self.batch.append(command)
            if len(self.batch) < 4:
                return
            self.flush()
        else:
            self.decide([command])

    def flush(self) -> None:
        batch, self.batch = self.batch, None
        if batch:
            self.decide(batch)

    def decide(self, batch: list[law.Command]) -> None:
        commit = self.world.when(*batch)
        assert len(commit.replies) == len(batch)
        for task in self.world.started[self.seen :]:
            self.hold(task)
        self.seen = len(self.world.started)
        for reply in commit.replies:
            if isinstance(reply, WorkflowTaskCompleted):
                self.activity_tasks += reply.activity_tasks
                if reply.workflow_task is not None:
                    self.workflow_tasks.append(reply.workflow_task)

    def hold(self, task: StartedWorkflowTask | StartedActivityTask) -> None:
        if isinstance(task, StartedWorkflowTask):
            self.workflow_tasks.append(task)
        else:
            self.activity_tasks.append(task)

    # choices: each gives the command to decide, or None

    def start(self, which: int, how: int) -> law.Command:
        self.requests += 1
        fields: dict[str, Any] = {"request_id": f"request-{self.requests if which % 4 else 1}"}
        fields |= ({}, {"workflow_id_reuse_policy": 2}, {"workflow_id_conflict_policy": 2})[which % 3]
        if which % 29 == 28:
            fields["workflow_id_conflict_policy"] = enums.CONFLICT_TERMINATE_EXISTING
        fields |= ({}, {"workflow_run_timeout": 100.0}, {"workflow_start_delay": 3.0}, {}, {})[how % 5]
        if which % 5 == 3:
            fields["retry_policy"] = given.retry(initial=2, attempts=3)
        if how % 9 == 4:
            fields["workflow_execution_timeout"] = 50.0
        return law.StartWorkflow(given.start_request(**fields))

    def poll(self, which: int, how: int) -> law.Command | None:
        rows = self.world.rows
        return law.StartTask(rows[which % len(rows)], given.Waiting()) if rows else None

    def wait(self, which: int, how: int) -> None:
        kind = TaskKind.WORKFLOW if which % 2 else TaskKind.ACTIVITY
        self.world.wait(kind, "sticky" if which % 4 == 3 else "queue")

    def gather(self, which: int, how: int) -> None:
        """The next few commands are decided in one go."""
        if self.batch is None:
            self.batch = []

    def complete_task(self, which: int, how: int) -> law.Command | None:
        task = self._pick(self.workflow_tasks, which)
        if task is None:
            return None
        messages = walk_updates.messages(self.world.run, task, which, how)
        request = RespondWorkflowTaskCompletedRequest(
            identity=given.WORKER,
            commands=[*given.message_commands(messages), *self.commands(which, how)],
            messages=messages,
            force_create_new_workflow_task=how % 11 == 10,
            return_new_workflow_task=how % 3 == 2,
        )
        if how % 4 == 3:
            queue = TaskQueue(name="sticky", kind=enums.QUEUE_STICKY, normal_name="queue")
            attributes = StickyExecutionAttributes(worker_task_queue=queue, schedule_to_start_timeout=given.seconds(5))
            request.sticky_attributes.CopyFrom(attributes)
        return law.CompleteWorkflowTask(decode_token(task.token), request)

    def commands(self, which: int, how: int) -> list[Command]:
        """Mostly sensible ones; now and then a duplicate, a bad or a closing one."""
        run = self.world.run
        n = run.next_event_id
        policy = given.retry(initial=1 + how % 3, attempts=how % 4)
        choices = [
            [given.schedule(f"a{n}", start_to_close=5, policy=policy)],
            [given.schedule(f"a{n}"), given.schedule(f"b{n}", heartbeat=2), given.timer(f"t{n}", 1 + how % 4)],
            [given.timer(f"t{n}", how % 3), given.marker()],
            [given.cancel_timer(timer_id) for timer_id in list(run.timers)[:2]],
            [given.cancel_activity(event_id) for event_id in list(run.activities)[: 1 + how % 2]],
            [given.schedule(f"a{n}", start_to_close=0, schedule_to_close=4), given.schedule(f"e{n}", eager=True)],
            [given.schedule(f"a{n}", schedule_to_start=2), given.timer(f"t{n}", 30)],
            [],
            [given.timer("same", 3)],
            [given.schedule("same")],
            [given.cancel_activity(3)],
            [start_child(f"kid-{n}", parent_close_policy=how % 4), start_child("kid")],
            [signal_external(), cancel_external(f"other-{n}"), given.timer(f"t{n}", 1)],
            [start_child()],
            [given.complete() if how % 2 else given.fail()],
            [given.fail()],
            [given.continue_as_new()],
            [given.timer(f"t{n}"), given.cancel_timer(f"t{n}"), given.cancel()],
        ]
        return choices[(which // 3 + how) % len(choices)]

    def signal(self, which: int, how: int) -> law.Command:
        return law.Signal(given.signal_request(request_id=f"signal-{how % 7}" if how % 3 else ""))

    def signal_with_start(self, which: int, how: int) -> law.Command | None:
        if which % 3:
            return None
        self.requests += 1
        fields: dict[str, Any] = {"request_id": f"request-{self.requests if which % 2 else 1}"}
        fields |= ({}, {"workflow_start_delay": 3.0}, {"workflow_id_reuse_policy": 3})[how % 3]
        return law.SignalWithStart(given.with_start_request(**fields))

    def answer(self, which: int, how: int) -> law.Command | None:
        """Other workflows answer, perhaps twice, perhaps out of order, perhaps after the end."""
        run = self.world.run
        asked = [*run.children, *run.externals] or [5]
        event_id = asked[which % len(asked)]
        if event_id in run.externals:
            return law.ResolveExternal(event_id, f"{event_id}", how % 3, child_only=how % 2 == 0)
        if how % 4 < 2:
            return law.ResolveChildStart(event_id, f"{event_id}", "kid-run" if how % 3 else "", how % 2)
        ending = (enums.WORKFLOW_EXECUTION_COMPLETED, enums.WORKFLOW_EXECUTION_FAILED)[how % 2]
        theirs = HistoryEvent(event_type=ending).SerializeToString()
        return law.ChildClosed(
            ChildClosed(event_id, "kid", "package", "kid-run", "kid-run", theirs, run.key.run_id), f"{event_id}/closed"
        )

    def update(self, which: int, how: int) -> law.Command:
        return walk_updates.update(which, how)

    def pause(self, which: int, how: int) -> law.Command:
        return walk_updates.pause(which, how)

    def control(self, which: int, how: int) -> law.Command | None:
        return walk_updates.control(self.world.run, which, how)

    def fail_task(self, which: int, how: int) -> law.Command | None:
        task = self._pick(self.workflow_tasks, which)
        if task is None:
            return None
        request = RespondWorkflowTaskFailedRequest(identity=given.WORKER, failure=given.failure())
        return law.FailWorkflowTask(decode_token(task.token), request)

    def complete_activity(self, which: int, how: int) -> law.Command | None:
        task = self._pick(self.activity_tasks, which)
        if task is None:
            return None
        request = RespondActivityTaskCompletedRequest(identity=given.WORKER, result=given.payloads(str(how)))
        return law.CompleteActivity(decode_token(task.token), request)

    def fail_activity(self, which: int, how: int) -> law.Command | None:
        task = self._pick(self.activity_tasks, which)
        if task is None:
            return None
        why = given.failure(non_retryable=how % 5 == 4, delay=how % 3)
        request = RespondActivityTaskFailedRequest(identity=given.WORKER, failure=why)
        return law.FailActivity(decode_token(task.token), request)

    def heartbeat(self, which: int, how: int) -> law.Command | None:
        task = self._pick(self.activity_tasks, which)
        if task is None:
            return None
        request = RecordActivityTaskHeartbeatRequest(identity=given.WORKER, details=given.payloads(str(how)))
        return law.RecordHeartbeat(decode_token(task.token), request)

    def report_canceled(self, which: int, how: int) -> law.Command | None:
        task = self._pick(self.activity_tasks, which)
        if task is None:
            return None
        request = RespondActivityTaskCanceledRequest(identity=given.WORKER)
        return law.ReportActivityCanceled(decode_token(task.token), request)

    @staticmethod
    def _pick(tasks: list[Any], which: int) -> Any:
        """Mostly the newest, sometimes a stale one."""
        if not tasks:
            return None
        return tasks[-1] if which % 3 else tasks[-1 - which % len(tasks)]

    def elapse(self, which: int, how: int) -> None:
        self.flush()
        self.world.elapse((0.5, 1, 1, 2, 2, 3, 5, 11, 40, 200)[which % 10])
        self.decide([])

    def wake(self, which: int, how: int) -> law.Command:
        return law.Wake()

    def set_clock(self, which: int, how: int) -> law.Command:
        self.flush()
        by_ns = (3600, -3600, 30, -5, 86_400)[which % 5] * 1_000_000_000
        self.world.now_ns += by_ns
        return law.MoveClock(by_ns, self.world.now_ns)

    def lose_workers(self, which: int, how: int) -> law.Command | None:
        if how % 3:
            return None
        return law.LoseWorkers()

    def cancel(self, which: int, how: int) -> law.Command | None:
        if how % 3:
            return None
        return law.RequestCancel(RequestCancelWorkflowExecutionRequest(reason="enough", identity="client"))

    def terminate(self, which: int, how: int) -> law.Command | None:
        if how % 15:
            return None
        return law.Terminate(TerminateWorkflowExecutionRequest(reason="enough", identity="client"))
