"""One turn of the law: an execution, what happens to it, and the Commit that grows out of it.

A `Turn` is what every entity's code writes through: `add` appends an event and folds it at once,
`enqueue` owes a worker a task, `lower` owes a wake-up. Who gets the tasks is said when the turn is
settled, after the last command, so that work which a later command undoes is never handed out.
"""

from __future__ import annotations

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.command.v1 import Command
from temporalio.api.history.v1 import HistoryEvent

from perdure.api.enums import PAUSED
from perdure.api.times import LONG_MAX, timestamp, timestamp_ns
from perdure.core.commit import Commit
from perdure.core.context import Context
from perdure.core.fold import evolve_measured
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.message import Message
from perdure.core.names import QueueName, Task, TaskKind, TaskRef
from perdure.core.state import Execution

SKEW_MAX_NS = 2_000_000_000
"""By how much the clocks of nodes may differ: a node that differs more does not start. So no event is written earlier
than the one before it. Further apart is a clock that was set (`perdure.core.clock_moved`): it is followed."""


class Turn(msgspec.Struct, eq=False):
    """The decisions of one commit on one execution, in the making: made by `begin`."""

    execution: Execution
    context: Context
    limits: Limits
    now_ns: int
    now: Timestamp
    commit: Commit
    command: Command | None = None
    """A command that says something to people, until the first event that comes of it: that one keeps it."""
    queued: list[Task] = []
    """Tasks owed since this turn began: each is given to a poller, or becomes a row, when the turn is settled."""
    fired: dict[int, bytes] | None = None
    """Buffered TimerFired events by the event that started the timer. None: they were not read yet."""
    successor: Turn | None = None
    """The run that follows this one in the same transaction."""

    def touch(self) -> None:
        """Something changed beside history: the commit must be stored."""
        self.commit.changed = True

    def add(self, event: HistoryEvent) -> int:
        """Append an event (its id is set here, its time too) and fold it. Returns its id."""
        event.event_time.CopyFrom(self.now)
        command = self.command
        if command is not None:
            self.command = None
            if command.HasField("user_metadata"):
                event.user_metadata.CopyFrom(command.user_metadata)
            event.event_group_markers.extend(command.event_group_markers)
        return self.add_dated(event, self.now_ns)

    def add_dated(self, event: HistoryEvent, at_ns: int | None = None) -> int:
        """Append an event that carries its own time, which is `at_ns` if that is known. Returns its id."""
        execution, commit = self.execution, self.commit
        event_id = event.event_id = execution.next_event_id
        data = event.SerializeToString()
        evolve_measured(execution, event, len(data), timestamp_ns(event.event_time) if at_ns is None else at_ns)
        commit.events.append(event)
        commit.encoded.append(data)
        commit.changed = True
        return event_id

    def enqueue(self, kind: TaskKind, queue: str, scheduled_event_id: int, attempt: int) -> None:
        """Owe a worker this task: a waiting poller gets it when the turn is settled, or a row is added.

        A paused run owes nobody anything: what waits is queued when it is unpaused.
        """
        self.commit.changed = True
        if self.execution.status == PAUSED:
            return
        key = self.execution.key
        name = QueueName(key.namespace, queue, kind)
        self.queued.append(Task(name, key, scheduled_event_id, attempt))

    def dequeue(self, kind: TaskKind, scheduled_event_id: int) -> None:
        """Owe it no more: it started, or nobody needs it now."""
        self.commit.changed = True
        if self.execution.status == PAUSED:
            return
        for position in range(len(self.queued) - 1, -1, -1):  # what is undone was mostly done a moment ago
            task = self.queued[position]
            if task.scheduled_event_id == scheduled_event_id and task.queue.kind == kind:
                del self.queued[position]
                return
        self.commit.remove_tasks.append(TaskRef(self.execution.key, kind, scheduled_event_id))

    def send(self, message: Message) -> None:
        """Have another workflow told, once this commit is durable."""
        self.commit.messages.append(message)
        self.commit.changed = True

    def retract(self, message_id: str) -> None:
        """A message need not be told any more, if it has not been yet."""
        messages = self.commit.messages
        kept = [message for message in messages if message.id != message_id]
        if len(kept) < len(messages):
            self.commit.messages = kept
        else:
            self.settled(message_id)

    def settled(self, message_id: str) -> None:
        """What that message was sent for is done, in this commit."""
        self.commit.remove_messages.append(message_id)
        self.commit.changed = True

    def lower(self, deadline_ns: int) -> None:
        """Owe a wake-up no later than this; the stored deadline moves only if this one is earlier."""
        if deadline_ns > LONG_MAX:
            deadline_ns = LONG_MAX
        stored = self.execution.wake_at_ns
        if stored is None or deadline_ns < stored:
            self.execution.wake_at_ns = deadline_ns
            self.commit.changed = True


def begin(execution: Execution, context: Context, expected_version: int, before: Turn | None = None) -> Turn:
    """The turn of a run, on the state that a store holds as this version; 0: it is a new one.

    A new one has the turn of the run `before` it, in the same moment.
    """
    now_ns = context.now_ns if before is None else before.now_ns
    if 0 < execution.last_event_ns - now_ns < SKEW_MAX_NS:  # of a node whose clock is ahead
        now_ns = execution.last_event_ns
    limits = context.limits if context.limits is not None else DEFAULT_LIMITS
    commit = Commit(execution.key, expected_version, execution, changed=False)
    return Turn(execution, context, limits, now_ns, timestamp(now_ns), commit)
