"""One cached run: history in, commands out.

The machine walks the sections of a history (see the package's docstring), runs the code at each
WorkflowTaskStarted that led to something, and compares what the code asked for with what history
says it asked for. It is used by one thread at a time, asks for nothing, and can be thrown away at
any moment: a new one, given the whole history, gets to the same point.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from zlib import crc32

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Memo, Payload
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.sdk.convert import Converter, error_of, failure_of
from perdure.sdk.declare.definitions import AnyActivity, AnyWorkflow
from perdure.sdk.errors import (
    EngineError,
    FailureError,
    NonDeterminismError,
    PayloadCodecError,
)
from perdure.sdk.options import SECOND_NS
from perdure.sdk.replay import carrying, mismatch
from perdure.sdk.replay.activity import Activity, check_object
from perdure.sdk.replay.conclusion import conclude
from perdure.sdk.replay.entry import COMMANDS_MAX, Entry, Site, current_site, greed
from perdure.sdk.replay.events import COMMAND_EVENTS, EVENT_HANDLERS
from perdure.sdk.replay.fiber import Fiber, GreenletFiber
from perdure.sdk.replay.flags import Flags, take_new
from perdure.sdk.replay.inbox import Inbox, look_ahead
from perdure.sdk.replay.info import WorkflowInfo, info_of
from perdure.sdk.replay.local_activity import Locals
from perdure.sdk.replay.local_work import Report, go_on, pending
from perdure.sdk.replay.outcome import NON_DETERMINISTIC, UNHANDLED, HistoryGapError, TaskOutcome
from perdure.sdk.replay.patch import may_be_left_out
from perdure.sdk.replay.query import answer
from perdure.sdk.replay.returns import ReturnWatch, with_return_site
from perdure.sdk.replay.running import guarded, running
from perdure.sdk.replay.search import begin_with
from perdure.sdk.replay.timer import Timer
from perdure.sdk.texts import unsendable

_E = EventType
_TASK_STARTED = _E.EVENT_TYPE_WORKFLOW_TASK_STARTED
_TASK_COMPLETED = _E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
_UNSPECIFIED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED


class WorkflowMachine:
    """One run in the cache.

    Args:
        definition: the workflow's code.
        converter: of arguments, results and failures.
        namespace, task_queue: where the run lives; activities go to that queue unless they name another.
        guard: watch the code for what replay could not repeat.
        finds: an activity of the worker by its name; raises UnknownTypeError.
    """

    __slots__ = (
        "__weakref__",
        "_events",
        "_index",
        "_input",
        "_requests",
        "activities",
        "activity_count",
        "barred",
        "cancel_reason",
        "cancel_requested",
        "child_count",
        "continue_as_new_suggested",
        "converter",
        "definition",
        "extras",
        "fiber",
        "finds",
        "flags",
        "guard",
        "history_length",
        "history_size_bytes",
        "inbox",
        "info",
        "last_number",
        "locals",
        "matched",
        "memo",
        "messages",
        "namespace",
        "next_event_id",
        "now_ns",
        "others",
        "passed",
        "produced",
        "replaying",
        "side_effect_count",
        "task_queue",
        "timer_count",
        "timers",
        "unguarded",
        "violation",
        "watch",
    )

    def __init__(
        self, definition: AnyWorkflow, converter: Converter, *, namespace: str, task_queue: str, guard: bool = True,
        finds: Callable[[str], object] | None = None,
    ) -> None:  # fmt: skip
        self.definition = definition
        self.finds = finds
        self.converter = converter
        self.namespace = namespace
        self.task_queue = task_queue
        self.guard = guard and definition.guarded
        self._reset()

    def _reset(self) -> None:
        self.next_event_id = 1
        self.info: WorkflowInfo | None = None
        self.memo: Memo | None = None
        self.now_ns = 0
        self.history_length = 0
        self.history_size_bytes = 0
        self.continue_as_new_suggested = False
        self.inbox: Inbox | None = None
        self.messages: list[Message] = []
        self.replaying = False
        self.cancel_requested = False
        self.cancel_reason = ""
        self.produced: list[Entry] = []
        self.matched = 0
        self.passed = 0
        self.activities: dict[int, Activity] = {}
        self.timers: dict[str, Timer] = {}
        self.activity_count = 0
        self.timer_count = 0
        self.child_count = 0
        self.others: dict[int, Any] = {}
        self.side_effect_count = 0
        self.last_number = 0
        self.violation: Exception | None = None
        self.unguarded = 0
        self.barred: str | None = None
        self.extras: dict[str, Any] | None = None
        self.locals: Locals | None = None
        self.flags: Flags | None = None
        self._input: Sequence[Any] = ()
        self._events: Sequence[HistoryEvent] = ()
        self._index = 0
        self._requests: Sequence[Message] = ()
        self.watch: ReturnWatch | None = None
        make: Callable[[Any], Fiber] = self.definition.fiber or GreenletFiber
        self.fiber: Fiber = make(self)

    # --- what the worker calls -------------------------------------------------------------------

    def process(self, task: PollWorkflowTaskQueueResponse | Report) -> TaskOutcome:
        """Apply a task's history, run the code, and say what it asks for.

        Where local activities are to be run first, the outcome says so, and nothing else; a `Report` on them, given
        here, goes on with the task.

        The history is complete: all its pages, from event 1 or from right behind what this machine has seen.
        From event 1 on a machine that has seen more, it starts over. An empty one changes nothing.
        Queries are answered last, from the state that all of it leads to.

        Raises:
            HistoryGapError: it starts elsewhere; the machine is as it was.
        """
        if type(task) is Report:
            return go_on(self, task)
        events = task.history.events
        if not events:
            return self._with_answers(task, TaskOutcome(finished=self.fiber.done))
        first = events[0].event_id
        if first != self.next_event_id:
            if first != 1:
                raise HistoryGapError(
                    f"run {task.workflow_execution.run_id} of {task.workflow_execution.workflow_id}: its cached state "
                    f"ends before event {self.next_event_id}, and the history given begins at event {first}"
                )
            self.close()
            self._reset()
        if first == 1:
            self._begin(task, events[0])
        self._events, self._index, self._requests = events, -1, task.messages
        try:
            live = self._apply(events)
        except NonDeterminismError as error:
            return self.task_failed(with_return_site(self, task, error), NON_DETERMINISTIC)
        except Exception as error:
            return self.task_failed(error, UNHANDLED)
        finally:
            self._events = self._requests = ()
        self.next_event_id = events[-1].event_id + 1
        return (self.locals is not None and live and pending(self, task)) or self.outcome(task, live=live)

    def outcome(self, task: PollWorkflowTaskQueueResponse, *, live: bool) -> TaskOutcome:
        """What the task comes to, now that the code has run; `live`: it is to be answered."""
        if self.locals is not None and self.inbox is not None and live:
            self.inbox.settle()
        outcome = TaskOutcome(self._take_commands() if live else [], None, _UNSPECIFIED, self.fiber.done)
        if self.inbox is not None:
            outcome.messages, self.messages = self.messages, []
            if live:
                self.inbox.conclude(outcome)
        if self.flags is not None and live:
            outcome.flags = take_new(self.flags)
        return self._with_answers(task, outcome)

    def close(self) -> None:
        """Free the code and all it holds. On the thread that ran it. The machine then starts over at event 1."""
        self.barred = "closed"
        ident = get_ident()
        outer = running.get(ident)
        running[ident] = self
        try:
            self.fiber.drop()
        finally:
            _restore(ident, outer)
        self.next_event_id = 0
        self.produced, self.activities, self.timers, self.extras = [], {}, {}, None

    @property
    def finished(self) -> bool:
        """Whether the code has ended."""
        return self.fiber.done

    def _take_commands(self) -> list[Command]:
        """The messages; the machine keeps what is needed to match their events, and not their payloads."""
        commands: list[Command] = []
        for entry in self.produced:
            assert entry.command is not None
            commands.append(entry.command)
            entry.command = None
        return commands

    def _with_answers(self, task: PollWorkflowTaskQueueResponse, outcome: TaskOutcome) -> TaskOutcome:
        queries = task.queries
        if not queries and not task.HasField("query"):
            return outcome
        asked = {query_id: queries[query_id] for query_id in queries} or {"": task.query}
        with self.active():
            outcome.query_results = {query_id: answer(self, query) for query_id, query in asked.items()}
        if self.fiber.disturbed():
            self.next_event_id = 0  # of no more use: its next task is replayed
        return outcome

    @contextmanager
    def active(self) -> Generator[None]:
        """Within, code that runs on this thread is this machine's."""
        ident = get_ident()
        outer = running.get(ident)
        running[ident] = self
        if self.guard and not self.unguarded:
            guarded.add(ident)
        try:
            yield
        finally:
            guarded.discard(ident)
            _restore(ident, outer)

    def task_failed(self, error: Exception, cause: WorkflowTaskFailedCause.ValueType) -> TaskOutcome:
        """The outcome of a task that could not be answered; the machine starts over."""
        self.next_event_id = 0
        return TaskOutcome([], failure_of(error, self.converter), cause, False, error)

    # --- walking through history -----------------------------------------------------------------

    def _begin(self, task: PollWorkflowTaskQueueResponse, event: HistoryEvent) -> None:
        execution = task.workflow_execution
        self.info = info_of(event, self.namespace, execution.workflow_id, execution.run_id)
        attributes = event.workflow_execution_started_event_attributes
        if attributes.HasField("memo"):
            self.memo = Memo()
            self.memo.CopyFrom(attributes.memo)
        if attributes.HasField("search_attributes"):
            begin_with(self, attributes.search_attributes)
        self._input = attributes.input.payloads
        if self.definition.handlers is not None:
            self.inbox = Inbox(self)
        if attributes.HasField("header"):
            signals = carrying.take(attributes.header)
            if signals:
                self.open_inbox().carried(signals)
        self.last_number = crc32(self.info.original_run_id.encode()) << 20

    def next_number(self) -> int:
        """A number for something that code may put into a set: its hash, so that the set's order is repeatable.

        By default it would be its address. Numbers of different runs are far apart, for asyncio keeps tasks of all
        loops in one set.
        """
        self.last_number += 1
        return self.last_number

    def arguments(self) -> list[Any]:
        """The workflow's arguments, decoded by its annotations. Once. Raises PayloadError."""
        payloads, self._input = self._input, ()
        assert self.info is not None
        return self.definition.decoded(self.converter, payloads, self.info.workflow_type, "workflow")

    def begin(self) -> Any:
        """Call the workflow's function: its value, or a coroutine."""
        if self.definition.handlers is not None and self.inbox is not None:
            return self.inbox.begin()
        return self.definition.fn(*self.arguments())

    def open_inbox(self) -> Inbox:
        """The run's inbox; most runs never have one."""
        if self.inbox is None:
            self.inbox = Inbox(self)
        return self.inbox

    def _apply(self, events: Sequence[HistoryEvent]) -> bool:
        """Returns whether the history ends with a task to be answered."""
        last = len(events) - 1
        for index, event in enumerate(events):
            kind = event.event_type
            if kind == _TASK_STARTED:
                if index == last:
                    self._run(event, index, replaying=False)
                    return True
                # A task that failed or timed out left nothing behind: the code did not get that far.
                if events[index + 1].event_type == _TASK_COMPLETED:
                    self._run(event, index, replaying=True)
            else:
                handler = _HANDLERS.get(kind)
                if handler is not None:
                    handler(self, event)
        if self.matched < len(self.produced):
            raise self._not_in_history()
        self.produced, self.matched = [], 0
        return False

    def _run(self, started: HistoryEvent, index: int, *, replaying: bool) -> None:
        if self.matched < len(self.produced):
            raise self._not_in_history()
        self.produced, self.matched = [], 0
        self.passed = 0
        self._index = index
        self.replaying = replaying
        time = started.event_time
        self.history_length = started.event_id
        now_ns = time.seconds * SECOND_NS + time.nanos
        work = self.locals
        if work is None:
            self.now_ns = now_ns
        else:
            self.now_ns, work.activation = max(self.now_ns, now_ns), 0
        attributes = started.workflow_task_started_event_attributes
        self.history_size_bytes = attributes.history_size_bytes
        self.continue_as_new_suggested = attributes.suggest_continue_as_new
        ident = get_ident()
        outer = running.get(ident)
        running[ident] = self
        if self.guard and not self.unguarded:
            guarded.add(ident)
        try:
            if replaying:
                look_ahead(self, self._events, index + 2)
            elif self._requests:
                self.open_inbox().requested(self._requests)
            if self.inbox is not None:
                self.inbox.deliver()
            if work is not None and replaying:
                work.replay(self, first=True)
            if self.watch is None:
                self.fiber.run()
            else:
                self.watch.run(self.fiber.run)
            if self.locals is not None and replaying:
                self.locals.replay(self, first=False)
            if self.inbox is not None and (replaying or self.locals is None):
                self.inbox.settle()
        finally:
            guarded.discard(ident)
            _restore(ident, outer)
        if self.violation is not None:
            raise self.violation
        if self.fiber.done:
            self.conclude()

    def conclude(self) -> None:
        """The code has ended: add the run's last command. Raises what fails the workflow task instead."""
        conclude(self)

    def _match(self, event: HistoryEvent) -> None:
        """A command event: it must be what the code asked for next."""
        index = self.matched
        entry = self.produced[index] if index < len(self.produced) else None
        if entry is not None and event.event_type in entry.event_types and entry.accept(event):
            self.matched = index + 1
        elif may_be_left_out(event):
            self.passed += 1
        elif entry is None:
            raise mismatch.disagreement(event, mismatch.waiting_text(self.fiber.sites()))
        else:
            raise mismatch.disagreement(event, self._entry_text(entry))

    def _not_in_history(self) -> NonDeterminismError:
        return mismatch.disagreement(self._event_after_commands(), self._entry_text(self.produced[self.matched]))

    def _entry_text(self, entry: Entry) -> str:
        return mismatch.entry_text(entry, self._returned_at())

    def _returned_at(self) -> Site | None:
        return None if self.watch is None else self.watch.site

    def _event_after_commands(self) -> HistoryEvent | None:
        """The event that stands where the next command's should be: behind the task, behind those that matched."""
        start = self._index + 1
        while start < len(self._events) and self._events[start].event_type != _TASK_COMPLETED:
            start += 1
        start += 1 + self.matched + self.passed
        return self._events[start] if start < len(self._events) else None

    def event_at(self, distance: int) -> HistoryEvent | None:
        """The event so many behind the WorkflowTaskStarted that is being replayed."""
        index = self._index + distance
        return self._events[index] if index < len(self._events) else None

    # --- what the code asks for ------------------------------------------------------------------

    def check_open(self) -> None:
        """Raises WorkflowClosed in code that was dropped, EngineError where code must not ask for anything."""
        if self.barred is None:
            return
        if self.barred == "closed":
            self.fiber.refuse()
            return
        raise EngineError(f"{self.barred} must not call activities, start timers or wait; do that outside of it")

    def schedule_activity(self, activity: AnyActivity, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity:
        """Raises TypeError as the call itself would, PayloadError for an argument that cannot be serialised."""
        if self.barred is not None:
            self.check_open()
        if not activity.is_declared:
            check_object(self, activity)
        args = activity.bind(args, kwargs)
        self.activity_count += 1
        entry = Activity(self, activity, str(self.activity_count))
        if self.replaying:
            entry.site = current_site()
        else:
            if len(self.produced) >= COMMANDS_MAX:
                self.violation = greed()
                raise self.violation
            try:
                entry.build(args)
            except Exception as error:
                raise self.not_built(entry.describe(), error) from error.__cause__
        self.produced.append(entry)
        return entry

    def start_timer(self, duration_ns: int) -> Timer:
        """A durable timer; less than a nanosecond counts as one."""
        if self.barred is not None:
            self.check_open()
        self.timer_count += 1
        entry = Timer(self, str(self.timer_count), max(1, duration_ns))
        self.emit(entry)
        return entry

    def next_child(self) -> int:
        """The number of a child."""
        self.child_count += 1
        return self.child_count

    def emit(self, entry: Any) -> None:
        """Add a command that builds itself."""
        if self.barred is not None:
            self.check_open()
        if self.replaying:
            entry.site = current_site()
        else:
            if len(self.produced) >= COMMANDS_MAX:
                self.violation = greed()
                raise self.violation
            try:
                entry.build()
            except Exception as error:
                raise self.not_built(entry.describe(), error) from error.__cause__
        self.produced.append(entry)

    def not_built(self, what: str, error: Exception) -> Exception:
        """What to raise when a command cannot be built: a value that has no bytes, a text that is no UTF-8.

        It fails the task. Replay builds nothing, so code that caught this would take another path there.
        """
        if isinstance(error, UnicodeEncodeError):
            error = unsendable(f"{what}: a text of it", error.object)
        self.violation = error
        return error

    def withdraw(self, entry: Entry) -> None:
        """Take back a command of this very task."""
        self.produced.remove(entry)

    def not_recorded(self, entry: Entry) -> NonDeterminismError:
        """In replay: the code asks for something that history should have here, and has not. Fails the task."""
        error = mismatch.disagreement(self.event_at(2 + len(self.produced)), self._entry_text(entry))
        self.violation = error
        return error

    def ahead(self) -> Iterator[HistoryEvent]:
        """In replay: the events behind the workflow task at hand, up to the next one; its commands come first."""
        for index in range(self._index + 2, len(self._events)):
            event = self._events[index]
            if event.event_type == _TASK_STARTED:
                return
            yield event

    def flags_ahead(self) -> Sequence[int]:
        """In replay: the changes (`flags.py`) that the completion of the workflow task at hand names."""
        completed = self.event_at(1)
        return (
            () if completed is None else completed.workflow_task_completed_event_attributes.sdk_metadata.lang_used_flags
        )

    def look(self, condition: Callable[[], object]) -> bool:
        """Whether a user's condition holds. It is asked as often as anything happens, so it must only look."""
        if self.barred is not None:
            return bool(condition())
        self.barred = "a condition"
        try:
            return bool(condition())
        finally:
            self.barred = None

    def without_guard(self, work: Callable[[], Any]) -> Any:
        """Run something that the guard shall not watch."""
        self.lift_guard()
        try:
            return work()
        finally:
            self.lower_guard()

    def lift_guard(self) -> None:
        """Stop watching, until as many `lower_guard` have come."""
        self.unguarded += 1
        guarded.discard(get_ident())

    def lower_guard(self) -> None:
        """Undo one `lift_guard`."""
        self.unguarded -= 1
        if self.guard and not self.unguarded and running.get(get_ident()) is self:
            guarded.add(get_ident())

    def read_failure(self, failure: Failure) -> FailureError:
        """The exception of a recorded failure."""
        return error_of(failure, self.converter)

    def read(self, payloads: Sequence[Payload], kind: Any, what: str) -> Any:
        """A recorded value, None where there is none. Raises PayloadError."""
        try:
            values = self.converter.from_payloads(payloads, (kind,), what)
        except PayloadCodecError as error:
            # Code that caught this would go another way than it goes in replay, when the codec is up: try again later.
            self.violation = error
            raise
        return values[0] if values else None


def _restore(ident: int, outer: WorkflowMachine | None) -> None:
    if outer is None:
        running.pop(ident, None)
    else:
        running[ident] = outer


_match: Any = WorkflowMachine._match  # pyright: ignore[reportPrivateUsage] - the machine's own dispatch table

_HANDLERS: Final[dict[int, Callable[[WorkflowMachine, HistoryEvent], None]]] = {
    **dict.fromkeys(COMMAND_EVENTS, _match),
    **EVENT_HANDLERS,
}
