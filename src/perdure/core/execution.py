"""The aggregate: one run of one workflow, folded from its events, and the decisions on it.

`Execution` (in `perdure.core.state`) holds two kinds of knowledge. Its own fields are the fold of
its history and nothing else: `evolve` is the only code that writes them, live, on rebuild, in
`fsck` and in tests. `facts` is the little that Temporal's model keeps out of history.

`decide` is the only way in. Commands and a Context go in, a `Decision` comes out, which says what
is owed to workers; the shell says who waits for it, and `settle` closes the Commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.api.errors import Rejected
from perdure.core import (
    activity,
    activity_control,
    admission,
    apart,
    attempts,
    bounds,
    child,
    clock_moved,
    commands,
    completion,
    deadlines,
    external,
    lost,
    options,
    pause,
    request_cancel,
    reset,
    signal,
    start,
)
from perdure.core import workflow_task as workflow_tasks
from perdure.core.commit import Commit, Dispatch
from perdure.core.context import Context, Poller
from perdure.core.fold import UnknownEvent, blank, evolve
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.names import ExecutionKey, Task, TaskKind
from perdure.core.refusals import (
    workflow_completed,
    workflow_not_found,
    workflow_task_not_found,
)
from perdure.core.replies import Taken
from perdure.core.state import Execution, decode, encode
from perdure.core.steps import STEP, Steps, finish
from perdure.core.turn import Turn, begin

__all__ = ["Execution", "UnknownEvent", "blank", "decide", "decode", "encode", "evolve"]


def decide(execution: Execution | None, commands: Sequence[commands.Command], context: Context) -> Decision:
    """Fold commands, one after another, into what will be one Commit, changing `execution` in place.

    `execution` is the run the commands address (None: the workflow id has no run yet). A refused
    command leaves the state untouched and its place in `Commit.replies` holds the `Rejected`.

    A StartWorkflow may succeed a closed run: then the commit is the new run's. It may terminate an
    open one (conflict policy TERMINATE_EXISTING): then the new run is `next_run`. When nothing at
    all changed (every command refused or a no-op) the commit has `changed` False and must not be
    stored, only its replies delivered.
    """
    decision = _open(execution, context)
    replies = decision.replies
    for command in commands:
        try:
            replies.append(decision.handle(command))
        except Rejected as rejected:
            replies.append(rejected)
    decision.end()
    return decision


def decide_in_steps(execution: Execution | None, command: commands.Command, context: Context) -> Steps[Decision]:
    """As `decide` of one command; others may be served between two steps, but this execution is nobody's meanwhile."""
    decision = _open(execution, context)
    try:
        reply = yield from decision.handle_in_steps(command)
    except Rejected as rejected:
        reply = rejected
    decision.replies.append(reply)
    decision.end()
    return decision


def takes_steps(command: object) -> bool:
    """Whether deciding it does so much that it is better done in steps."""
    measure = MAY_BE_LONG.get(type(command))
    return measure is not None and measure(command) > _LONG


_LONG = 2 * STEP
MAY_BE_LONG: Mapping[type, Callable[[Any], int]] = {
    commands.CompleteWorkflowTask: lambda command: len(command.request.commands),
    commands.ResetWorkflow: lambda command: len(command.copied) + len(command.later),
}


def _open(execution: Execution | None, context: Context) -> Decision:
    return Decision(context, [] if execution is None else [begin(execution, context, execution.version)])


class Decision(msgspec.Struct, eq=False):
    """What a batch of commands does to the run that it addresses, and to those that start after it."""

    context: Context
    turns: list[Turn]
    replies: list[Any] = []
    """To each command: a value, or the `Rejected` that it met."""
    queued: list[Task] = []
    """What is owed to workers now, once all commands are decided."""
    changed: list[Turn] = []

    def handle(self, command: Any) -> Any:
        """Decide one command of the law on the newest run. Raises Rejected."""
        kind: Any = command.__class__
        if kind not in _HANDLERS:
            return self._handle_start(command)
        if not self.turns:
            raise workflow_not_found()
        handler, stale = _HANDLERS[kind]
        turn = self.turns[-1]
        if stale is not None:
            _require_run(turn, command.token.key, stale)
        reply = handler(turn, command)
        if turn.successor is not None:
            self.turns.append(turn.successor)
        return reply

    def _handle_start(self, command: commands.Command) -> Any:
        """One of those that may begin a run."""
        if isinstance(command, commands.StartWorkflow):
            return self._start(command)
        if isinstance(command, commands.SignalWithStart):
            return self._signal_with_start(command)
        if isinstance(command, commands.UpdateWithStart):
            return self._update_with_start(command)
        if isinstance(command, commands.Take):
            return self._take(command)
        assert isinstance(command, commands.ResetWorkflow), f"nobody handles {type(command).__name__}"
        if not self.turns:
            raise workflow_not_found()
        return finish(self._reset(command))

    def handle_in_steps(self, command: commands.Command) -> Steps[Any]:
        """As `handle`. Raises Rejected."""
        if isinstance(command, commands.ResetWorkflow) and self.turns:
            return (yield from self._reset(command))
        if not isinstance(command, commands.CompleteWorkflowTask) or not self.turns:
            return self.handle(command)
        turn = self.turns[-1]
        _require_run(turn, command.token.key, workflow_task_not_found)
        reply = yield from completion.complete(turn, command, command.request.commands)
        if turn.successor is not None:
            self.turns.append(turn.successor)
        return reply

    def _start(self, command: commands.StartWorkflow) -> Any:
        request = command.request
        existing = self.turns[-1].execution if self.turns else None
        if command.parent is not None and existing is not None and existing.parent == command.parent:
            return start.existing_run(existing)  # the message came again; its run may have been followed by others
        turn = self._turn_to_start(request)
        if turn is None:
            running = self.turns[-1]
            known = running.execution.facts.request_id
            is_same = known != "" and request.request_id == known
            is_attached = not is_same and request.HasField("on_conflict_options") and options.attaches(request)
            if is_attached:
                options.attach(running, request)
            return start.answer_again(running.execution, is_same, is_attached)
        if command.parent is None:
            return start.start(turn, request)
        return start.start_child(turn, command, command.parent)

    def _signal_with_start(self, command: commands.SignalWithStart) -> Any:
        request = command.request
        signal.check(self.limits, request.signal_name, request.signal_input, request.request_id)
        as_start = signal.start_request_of(request)
        if self.turns and signal.is_known(self.turns[-1].execution, request.request_id):
            return start.existing_run(self.turns[-1].execution)  # the same request again, its run open or ended
        turn = self._turn_to_start(as_start)
        if turn is not None:
            return signal.start_with(turn, as_start, command)
        return signal.deliver_with_start(self.turns[-1], command)

    def _take(self, command: commands.Take) -> Taken:
        reply = self.handle(command.command)
        commit = self.turns[-1].commit
        if commit.changed:
            commit.take_records.append(command.record)
        return Taken(reply, commit.changed)

    def _update_with_start(self, command: commands.UpdateWithStart) -> Any:
        """Raises Rejected with a `MultiOperationExecutionFailure` that says what was refused."""
        request = command.update.request
        try:
            admission.check(self.limits, request)
        except Rejected as refused:
            raise admission.multi_operation_failure([None, refused]) from refused
        newest = self.turns[-1] if self.turns else None
        try:
            # The same request again: the run and the update of the first time answer it, whatever the policies say.
            if newest is not None and admission.is_the_same_again(newest.execution, request):
                self._validate_start(command.start)
                return start.existing_run(newest.execution), admission.admit_request(newest, request)
            turn = self._turn_to_start(command.start)
            started = start.existing_run(self.turns[-1].execution) if turn is None else start.start(turn, command.start)
        except Rejected as refused:
            raise admission.multi_operation_failure([refused, None]) from refused
        try:
            return started, admission.admit_request(self.turns[-1], request)
        except Rejected as refused:
            raise admission.multi_operation_failure([None, refused]) from refused

    def _reset(self, command: commands.ResetWorkflow) -> Steps[str]:
        current = self.turns[-1]
        request_id = command.request.request_id
        if not request_id or request_id != current.execution.facts.request_id:
            reset.require_current(current, command)
            self.turns.append((yield from reset.reset(current, command)))
        return self.turns[-1].execution.key.run_id

    @property
    def limits(self) -> Limits:
        return self.context.limits or DEFAULT_LIMITS

    def _turn_to_start(self, request: StartWorkflowExecutionRequest) -> Turn | None:
        """The turn of a run that is to start now, None when the newest run is to be used. Raises Rejected."""
        existing = self.turns[-1].execution if self.turns else None
        self._validate_start(request)
        action = start.choose(existing, request)
        if existing is not None:
            if action == start.Action.REFUSE:
                raise start.refusal(existing, request)
            if action == start.Action.USE_EXISTING:
                return None
        key = ExecutionKey(request.namespace, request.workflow_id, self.context.new_id())
        if action == start.Action.TERMINATE_AND_START:
            start.terminate_existing(self.turns[-1], key.run_id)
        turn = begin(blank(key), self.context, 0, self.turns[-1] if self.turns else None)
        # The choice was made on that run: the commit holds only while it is the newest.
        if existing is not None:
            turn.commit.expected_current_run_id = existing.key.run_id
        self.turns.append(turn)
        return turn

    def _validate_start(self, request: StartWorkflowExecutionRequest) -> None:
        """Raises Rejected INVALID_ARGUMENT."""
        start.validate(request, self.limits, self.context.find_zone)
        type_of = self.context.attribute_type
        if type_of is not None and request.HasField("search_attributes"):
            start.check_search_attributes(request, type_of)

    def end(self) -> None:
        """There are no more commands: what remains to be said is who gets the tasks."""
        for turn in self.turns:
            if turn.commit.changed:
                bounds.enforce(turn)
                apart.settle(turn)
                self.changed.append(turn)
                if turn.queued:
                    self.queued += turn.queued

    def settle(self, pollers: Iterable[Poller | None] = ()) -> Commit:
        """Close the commits of all runs and link them: a run that starts behind a changed one is its `next_run`.

        `pollers` says for each of `queued`, in order, who gets the task at once; None: it becomes a row. Without any,
        all of them do. To be called once.
        """
        changed = self.changed
        if not changed:
            key = self.turns[-1].execution.key if self.turns else ExecutionKey("", "", "")
            execution = self.turns[-1].execution if self.turns else None
            version = execution.version if execution is not None else 0
            return Commit(key, version, execution, replies=self.replies, changed=False)
        left = iter(pollers)
        for turn in changed:
            settle(turn, left)
        first = changed[0].commit
        if len(changed) == 1:
            first.close()
        else:
            for turn, following in pairwise(changed):
                turn.commit.next_run = following.commit
        first.replies = self.replies
        return first


def settle(turn: Turn, pollers: Iterator[Poller | None]) -> None:
    """Give what is owed to the next of the pollers, the rest to the durable queue, and number the new state."""
    execution = turn.execution
    commit = turn.commit
    for task in turn.queued:
        poller = next(pollers, None)
        if poller is None:
            commit.add_tasks.append(task)
        elif task.queue.kind == TaskKind.WORKFLOW:
            execution.facts.task_home = poller.home
            commit.dispatches.append(Dispatch(poller, workflow_tasks.start(turn, poller.identity)))
        else:
            pending = execution.activities[task.scheduled_event_id]
            attempt = execution.facts.attempts[task.scheduled_event_id]
            commit.dispatches.append(Dispatch(poller, activity.start(turn, pending, attempt, poller)))
    execution.version += 1
    commit.wake_at_ns = execution.wake_at_ns


def _start_task(turn: Turn, command: commands.StartTask) -> None:
    """A poller took a row of the durable queue. Raises Rejected NOT_FOUND when the row is stale."""
    task, poller = command.task, command.poller
    _require_run(turn, task.key)
    take = workflow_tasks.take_row if task.queue.kind == TaskKind.WORKFLOW else activity.take_row
    turn.commit.dispatches.append(Dispatch(poller, take(turn, task, poller)))


def _require_run(turn: Turn, key: ExecutionKey, refusal: Callable[[], Rejected] = workflow_completed) -> None:
    if key.run_id not in (turn.execution.key.run_id, "") or not turn.execution.is_open:
        raise refusal()


def _complete(turn: Turn, command: commands.CompleteWorkflowTask) -> Any:
    return finish(completion.complete(turn, command, list(command.request.commands)))


_HANDLERS: dict[type, tuple[Callable[[Turn, Any], Any], Callable[[], Rejected] | None]] = {
    commands.StartTask: (_start_task, None),
    commands.CompleteWorkflowTask: (_complete, workflow_task_not_found),
    commands.FailWorkflowTask: (completion.fail, workflow_task_not_found),
    commands.CompleteActivity: (attempts.complete, workflow_completed),
    commands.FailActivity: (attempts.fail, workflow_completed),
    commands.ReportActivityCanceled: (attempts.report_canceled, workflow_completed),
    commands.RecordHeartbeat: (attempts.record_heartbeat, workflow_completed),
    commands.Signal: (signal.signal, None),
    commands.AdmitUpdate: (admission.admit, None),
    commands.PauseWorkflow: (pause.pause, None),
    commands.UnpauseWorkflow: (pause.unpause, None),
    commands.ResolveChildStart: (child.resolve_start, None),
    commands.ResolveExternal: (external.resolve, None),
    commands.ChildClosed: (child.closed, None),
    commands.CloseChild: (request_cancel.close_child, None),
    commands.UpdateOptions: (options.update, None),
    commands.ControlActivities: (activity_control.control, None),
    commands.ForgetSticky: (workflow_tasks.forget_sticky, None),
    commands.RequestCancel: (request_cancel.request_cancel, None),
    commands.Terminate: (request_cancel.terminate, None),
    commands.Wake: (deadlines.wake, None),
    commands.MoveClock: (clock_moved.move, None),
    commands.LoseWorkers: (lost.lose_workers, None),
}
"""What is done with a command; and of one with a task's token the refusal when that is of another run, or of one that
has ended."""
