"""Short builders for store tests: runs whose commits a test writes one after another."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.api.history.v1 import History, HistoryEvent

from perdure.core.commit import Commit
from perdure.core.execution import blank
from perdure.core.message import Message, Origin, SignalExternal
from perdure.core.names import ExecutionKey, QueueName, Task, TaskKind, TaskRef
from perdure.core.state import WorkflowTask
from perdure.stores.api import BEGINNING, Batch, Outcome, PendingMessage, Reference, Store

RUNNING, COMPLETED, FAILED = 1, 2, 3
SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
QUEUE = QueueName("default", "queue", TaskKind.WORKFLOW)
ACTIVITIES = QueueName("default", "queue", TaskKind.ACTIVITY)
APPLIED, CONFLICT = Outcome.APPLIED, Outcome.CONFLICT


def message(message_id: str) -> Message:
    """A message of any kind; `message_id` is written all over it."""
    body = SignalExternal(message_id.encode(), Origin("default", "order-1", "run-1", 5), False)
    return Message(message_id, "default", f"for {message_id}", "", body)


def message_id(row: PendingMessage) -> str:
    """Of a row of the outbox that is sound."""
    assert row.message is not None
    return row.message.id


class Run:
    """One run; every `commit` is decided on the one before, as core would."""

    def __init__(
        self, workflow_id: str = "order-1", run_id: str = "run-1", namespace: str = "default", type: str = "Order"
    ) -> None:
        self.key = ExecutionKey(namespace, workflow_id, run_id)
        self.execution = blank(self.key)
        self.execution.workflow_type = type
        self.execution.task_queue = "queue"
        self.execution.started_at_ns = START_NS

    def commit(
        self,
        events: int = 2,
        *,
        wake_at_ns: int | None = None,
        held: bool = False,
        close_as: int | None = None,
        add: Sequence[Task] = (),
        remove: Sequence[TaskRef] = (),
        after: str | None = None,
        then: Commit | None = None,
        send: Sequence[str] = (),
        settle: Sequence[str] = (),
    ) -> Commit:
        """The next commit: so many events, and after it a worker holds a task (`held`) or the run is closed."""
        execution = self.execution
        first = execution.next_event_id
        execution.version += 1
        execution.next_event_id += events
        execution.wake_at_ns = wake_at_ns
        execution.workflow_task = WorkflowTask(1, 1, START_NS, SECOND, "queue", False, 2 if held else 0)
        if close_as is not None:
            execution.status, execution.closed_at_ns = close_as, START_NS + SECOND
        made = [HistoryEvent(event_id=number) for number in range(first, first + events)]
        return Commit(
            key=self.key,
            expected_version=execution.version - 1,
            execution=execution,
            events=made,
            encoded=[event.SerializeToString() for event in made],
            add_tasks=list(add),
            remove_tasks=list(remove),
            wake_at_ns=wake_at_ns,
            expected_current_run_id=after,
            next_run=then,
            messages=[message(message_id) for message_id in send],
            remove_messages=list(settle),
        )

    def behind(self, versions: int = 1) -> Run:
        """Forget the newest commits, as an engine does whose cached state is out of date."""
        self.execution.version -= versions
        return self

    def task(self, scheduled_event_id: int = 1, queue: QueueName = QUEUE, stamp: int = 1) -> Task:
        return Task(queue, self.key, scheduled_event_id, stamp)

    def task_ref(self, scheduled_event_id: int = 1, kind: TaskKind = TaskKind.WORKFLOW) -> TaskRef:
        return TaskRef(self.key, kind, scheduled_event_id)

    @property
    def reference(self) -> Reference:
        return Reference(self.key.namespace, self.key.workflow_id, self.key.run_id)

    @property
    def current(self) -> Reference:
        return Reference(self.key.namespace, self.key.workflow_id)


def event_ids(batches: Sequence[Batch]) -> list[int]:
    """The events of batches, which concatenate into a valid History."""
    return [event.event_id for event in History.FromString(b"".join(batch.data for batch in batches)).events]


async def stored(store: Store, run: Run) -> tuple[int, list[int]]:
    """What the store holds of a run: its version (0: nothing) and the numbers of its events."""
    [execution] = await store.load([run.reference])
    return (execution.version if execution else 0, event_ids(await store.history(run.key)))


async def current_run_id(store: Store, run: Run) -> str | None:
    """The run that the workflow id leads to."""
    [execution] = await store.load([run.current])
    return execution.key.run_id if execution else None


async def queued(store: Store, queue: QueueName = QUEUE) -> list[Task]:
    """All rows of a queue."""
    return [row.task for row in await store.tasks(queue, BEGINNING, 1000)]
