"""The walk over a run's history: history in, commands out.

The machine walks the sections of a history (see the package's docstring), runs the code at each
WorkflowTaskStarted that led to something, and compares what the code asked for with what history
says it asked for. It is used by one thread at a time, asks for nothing, and can be thrown away at
any moment: a new one, given the whole history, gets to the same point.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Sequence
from typing import Any, Final
from zlib import crc32

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Memo
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.sdk.convert import failure_of
from perdure.sdk.errors import NonDeterminismError
from perdure.sdk.interceptors import headers_of
from perdure.sdk.moments import ns_of
from perdure.sdk.options import SECOND_NS
from perdure.sdk.replay import (
    activity,
    carrying,
    child,
    completion,
    inbox,
    local_activity,
    marker,
    memo,
    mismatch,
    patch,
    search,
    timer,
    update,
)
from perdure.sdk.replay.conclusion import conclude
from perdure.sdk.replay.entry import COMMAND_EVENTS, Entry
from perdure.sdk.replay.events import READERS
from perdure.sdk.replay.fiber import Fiber
from perdure.sdk.replay.flags import take_new
from perdure.sdk.replay.greenlets import GreenletFiber
from perdure.sdk.replay.info import info_of
from perdure.sdk.replay.local_work import TASK_TIMEOUT_NS, Report
from perdure.sdk.replay.outcome import NON_DETERMINISTIC, UNHANDLED, HistoryGapError, TaskOutcome
from perdure.sdk.replay.query import answer
from perdure.sdk.replay.returns import ReturnWatch
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import active, guarded, restore, running

_E = EventType
_TASK_STARTED = _E.EVENT_TYPE_WORKFLOW_TASK_STARTED
_TASK_COMPLETED = _E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
_UNSPECIFIED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED


class WorkflowMachine(Run):
    """One run in the cache, and how far its history is read. Made as a `Run` is.

    Attributes:
        next_event_id: where the history that comes next must begin; 0: of no more use, it is to be given whole.
        matched: of the commands in `produced`, how many have met their event.
        passed: how many command events behind the task at hand code need not ask for any more.
    """

    __slots__ = ("_requests", "matched", "next_event_id", "passed", "watch")

    def _reset(self) -> None:
        Run._reset(self)
        self.next_event_id = 1
        self.matched = 0
        self.passed = 0
        self._requests: Sequence[Message] = ()
        self.watch: ReturnWatch | None = None
        make: Callable[[Any], Fiber] = self.definition.fiber or GreenletFiber
        self.fiber = make(self)

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
            return self._go_on(task)
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
            return self._task_failed(self._with_return_site(task, error), NON_DETERMINISTIC)
        except Exception as error:
            return self._task_failed(error, UNHANDLED)
        finally:
            self._events = self._requests = ()
        self.next_event_id = events[-1].event_id + 1
        if live and self.locals is not None:
            pending = self._pending(task)
            if pending is not None:
                return pending
        return self._outcome(task, live=live)

    def close(self) -> None:
        """Free the code and all it holds. On the thread that ran it. The machine then starts over at event 1."""
        self.is_closed, self.barred = True, "a run that is closed"
        ident = get_ident()
        outer = running.get(ident)
        running[ident] = self
        try:
            self.fiber.drop()
        finally:
            restore(ident, outer)
        self.next_event_id = 0
        self.produced, self.activities, self.timers = [], {}, {}
        self.changes = self.event_counts = self.random = self.search_attributes = None
        self.current_details = ""

    @property
    def finished(self) -> bool:
        """Whether the code has ended."""
        return self.fiber.done

    # --- what a task comes to --------------------------------------------------------------------

    def _outcome(self, task: PollWorkflowTaskQueueResponse, *, live: bool) -> TaskOutcome:
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
        ready = self.fiber.ready_count()
        with active(self):
            outcome.query_results = {query_id: answer(self, query) for query_id, query in asked.items()}
        if self.fiber.ready_count() > ready:
            self.next_event_id = 0  # of no more use: its next task is replayed
        return outcome

    def _task_failed(self, error: Exception, cause: WorkflowTaskFailedCause.ValueType) -> TaskOutcome:
        """The outcome of a task that could not be answered; the machine starts over."""
        self.next_event_id = 0
        return TaskOutcome([], failure_of(error, self.converter), cause, False, error)

    def _pending(self, task: PollWorkflowTaskQueueResponse) -> TaskOutcome | None:
        """What the task waits for: local activities. None: nothing, it can be answered."""
        work = self.locals
        if work is None or not work.open or self.fiber.done:
            return None
        work.task = task
        urgent = bool(self.messages or task.queries)
        timeout = None if self.info is None else self.info.task_timeout
        timeout_ns = TASK_TIMEOUT_NS if timeout is None else ns_of(timeout)
        return TaskOutcome(local=work.work(urgent=urgent, task_timeout_ns=timeout_ns))

    def _go_on(self, report: Report) -> TaskOutcome:
        """The worker's report on the task that waits: the code runs on; then as `_pending`, or the task's answer."""
        work = self.locals
        assert work is not None and work.task is not None, "a report belongs to a task that waits"
        task = work.task
        try:
            with active(self):
                work.apply(report)
            if self.violation is not None:
                raise self.violation
            if self.fiber.done:
                conclude(self)
        except NonDeterminismError as error:
            return self._task_failed(error, NON_DETERMINISTIC)
        except Exception as error:
            return self._task_failed(error, UNHANDLED)
        outcome = self._pending(task) if report.outcomes else None
        if outcome is None:
            work.task = None
            outcome = self._outcome(task, live=True)
            outcome.goes_on = bool(work.open) and not outcome.finished
        return outcome

    def _with_return_site(self, task: PollWorkflowTaskQueueResponse, error: NonDeterminismError) -> NonDeterminismError:
        """Where code returned too early is not known afterwards: replay once more, with an eye on returns.

        No cost to any other replay. The second one is thrown away.
        """
        returned = any(isinstance(entry, completion.Completion) and entry.error is None for entry in self.produced)
        if not returned or self.watch is not None or task.history.events[0].event_id != 1:
            return error
        again = WorkflowMachine(
            self.definition, self.converter, namespace=self.namespace, task_queue=self.task_queue, guard=self.guard,
            compose=self.compose,
        )  # fmt: skip
        again.watch = ReturnWatch(self.definition.fn)
        outcome = again.process(task)
        again.close()
        return outcome.error if isinstance(outcome.error, NonDeterminismError) else error

    # --- walking through history -----------------------------------------------------------------

    def _begin(self, task: PollWorkflowTaskQueueResponse, event: HistoryEvent) -> None:
        execution = task.workflow_execution
        self.info = info_of(event, self.namespace, execution.workflow_id, execution.run_id)
        attributes = event.workflow_execution_started_event_attributes
        if attributes.HasField("memo"):
            self.memo = Memo()
            self.memo.CopyFrom(attributes.memo)
        if attributes.HasField("search_attributes"):
            search.begin_with(self, attributes.search_attributes)
        self._input = attributes.input.payloads
        if self.definition.handlers is not None:
            inbox.inbox_of(self)
        if self.compose is not None:
            self.chain = self.compose(self)
            self.chain.headers = headers_of(attributes.header)
        if attributes.HasField("header"):
            signals = carrying.take(attributes.header)
            if signals:
                inbox.inbox_of(self).carried(signals)
        self.last_number = crc32(self.info.original_run_id.encode()) << 20

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
            elif kind in _HANDLERS:
                _HANDLERS[kind](self, event)
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
                inbox.look_ahead(self, self._events, index + 2)
            elif self._requests:
                inbox.inbox_of(self).requested(self._requests)
            if self.inbox is not None:
                self.inbox.deliver()
            if work is not None and replaying:
                work.replay(first=True)
            if self.watch is None:
                self.fiber.run()
            else:
                self.watch.run(self.fiber.run)
            if self.locals is not None and replaying:
                self.locals.replay(first=False)
            if self.inbox is not None and (replaying or self.locals is None):
                self.inbox.settle()
        finally:
            guarded.discard(ident)
            restore(ident, outer)
        if self.violation is not None:
            raise self.violation
        if self.fiber.done:
            conclude(self)

    def _match(self, event: HistoryEvent) -> None:
        """A command event: it must be what the code asked for next."""
        index = self.matched
        entry = self.produced[index] if index < len(self.produced) else None
        if entry is not None and event.event_type in entry.event_types and entry.accept(event):
            self.matched = index + 1
        elif patch.may_be_left_out(event):
            self.passed += 1
        elif entry is None:
            raise mismatch.disagreement(event, mismatch.waiting_text(self.fiber.sites()))
        else:
            raise mismatch.disagreement(event, self._entry_text(entry))

    def _not_in_history(self) -> NonDeterminismError:
        return mismatch.disagreement(self._event_after_commands(), self._entry_text(self.produced[self.matched]))

    def _entry_text(self, entry: Entry) -> str:
        return mismatch.entry_text(entry, None if self.watch is None else self.watch.site)

    def _event_after_commands(self) -> HistoryEvent | None:
        """The event that stands where the next command's should be: behind the task, behind those that matched."""
        start = self._index + 1
        while start < len(self._events) and self._events[start].event_type != _TASK_COMPLETED:
            start += 1
        start += 1 + self.matched + self.passed
        return self._events[start] if start < len(self._events) else None


_match: Any = WorkflowMachine._match  # pyright: ignore[reportPrivateUsage] - the machine's own dispatch table

KINDS: Final = (activity, child, completion, inbox, local_activity, marker, memo, patch, search, timer, update)
"""The rooms that register what history says to them."""

_HANDLERS: Final[dict[int, Any]] = {**dict.fromkeys(COMMAND_EVENTS, _match), **READERS}
"""What each event does, now that all kinds are here."""
