"""One run, as its code and the things that it asked for see it: the ground that everything in this room stands on.

What a kind of thing keeps of itself lies here, and what it may ask: whether the code may ask for anything now, what
history says next, how a value is read. Who walks through the history stands above all of them: `machine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from temporalio.api.common.v1 import Memo, Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message

from perdure.sdk.convert import Converter, error_of
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import EngineError, FailureError, NonDeterminismError, PayloadCodecError
from perdure.sdk.interceptors import ExecuteWorkflowInput, WorkflowChain
from perdure.sdk.replay import mismatch
from perdure.sdk.replay.entry import COMMANDS_MAX, Entry, current_site, greed
from perdure.sdk.replay.fiber import Fiber
from perdure.sdk.replay.flags import Flag, Flags
from perdure.sdk.replay.info import WorkflowInfo
from perdure.sdk.replay.parts import InboxView, LocalsView
from perdure.sdk.texts import unsendable

_TASK_STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED


class Changes:
    """The answers that a run was given on versions of its code (`patch.py`): they hold for the rest of it."""

    __slots__ = ("patches", "values", "versions")

    def __init__(self) -> None:
        self.patches: dict[str, bool] = {}
        self.versions: dict[str, int] = {}
        self.values: set[str] = set()


class Run:
    """One run in the cache. What holds one calls it `machine`: it is the machine's lower half.

    Args:
        definition: the workflow's code.
        converter: of arguments, results and failures.
        namespace, task_queue: where the run lives; activities go to that queue unless they name another.
        guard: watch the code for what replay could not repeat.
        finds: an activity of the worker by its name; raises UnknownTypeError.
        compose: makes the chain of interceptors of a run; None where there are none.

    Attributes:
        activities, timers, others: what is under way and has its event, by that event's id (a timer by its own). Each
            kind puts in and takes out its own: `others` are children, and messages to other workflows.
        barred: what the code is in that must not ask for anything, in words. None: it may ask.
        is_closed: the code was dropped from the cache; what it still asks for is not done.
        changes, current_details, event_counts, random, search_attributes: what the room of that name keeps; most runs
            have none of it.
        produced: the commands of the workflow task at hand, in the order in which the code asked for them.
        violation: what fails the workflow task, even if the code has caught it.
    """

    __slots__ = (
        "__weakref__",
        "_events",
        "_index",
        "_input",
        "activities",
        "activity_count",
        "barred",
        "cancel_reason",
        "cancel_requested",
        "chain",
        "changes",
        "child_count",
        "compose",
        "continue_as_new_suggested",
        "converter",
        "current_details",
        "definition",
        "event_counts",
        "fiber",
        "finds",
        "flags",
        "guard",
        "history_length",
        "history_size_bytes",
        "inbox",
        "info",
        "is_closed",
        "last_number",
        "locals",
        "memo",
        "messages",
        "namespace",
        "now_ns",
        "others",
        "produced",
        "random",
        "replaying",
        "search_attributes",
        "side_effect_count",
        "task_queue",
        "timer_count",
        "timers",
        "unguarded",
        "violation",
    )

    fiber: Fiber

    def __init__(
        self, definition: AnyWorkflow, converter: Converter, *, namespace: str, task_queue: str, guard: bool = True,
        finds: Callable[[str], object] | None = None, compose: Callable[[Any], WorkflowChain] | None = None,
    ) -> None:  # fmt: skip
        self.definition = definition
        self.finds = finds
        self.compose = compose
        self.converter = converter
        self.namespace = namespace
        self.task_queue = task_queue
        self.guard = guard and definition.guarded
        self._reset()

    def _reset(self) -> None:
        self.info: WorkflowInfo | None = None
        self.chain: WorkflowChain | None = None
        self.memo: Memo | None = None
        self.now_ns = 0
        self.history_length = 0
        self.history_size_bytes = 0
        self.continue_as_new_suggested = False
        self.inbox: InboxView | None = None
        self.messages: list[Message] = []
        self.replaying = False
        self.cancel_requested = False
        self.cancel_reason = ""
        self.produced: list[Entry] = []
        self.activities: dict[int, Any] = {}
        self.timers: dict[str, Any] = {}
        self.others: dict[int, Any] = {}
        self.activity_count = 0
        self.timer_count = 0
        self.child_count = 0
        self.side_effect_count = 0
        self.last_number = 0
        self.violation: Exception | None = None
        self.unguarded = 0
        self.barred: str | None = None
        self.is_closed = False
        self.locals: LocalsView | None = None
        self.flags: Flags | None = None
        self.changes: Changes | None = None
        self.current_details = ""
        self.event_counts: dict[str, int] | None = None
        self.random: object | None = None
        self.search_attributes: dict[str, Payload] | None = None
        self._input: Sequence[Any] = ()
        self._events: Sequence[HistoryEvent] = ()
        self._index = 0

    # --- the code ----------------------------------------------------------------------------------

    def arguments(self) -> list[Any]:
        """The workflow's arguments, decoded by its annotations. Once. Raises PayloadError."""
        payloads, self._input = self._input, ()
        assert self.info is not None
        return self.definition.decoded(self.converter, payloads, self.info.workflow_type, "workflow")

    def begin(self) -> Any:
        """Call the workflow's function: its value, or a coroutine."""
        if self.definition.handlers is not None and self.inbox is not None:
            return self.inbox.begin()
        if self.chain is None:
            return self.definition.fn(*self.arguments())
        return self.enter(self.definition.fn, self.arguments())

    def enter(self, fn: Callable[..., Any], args: list[Any]) -> Any:
        """Call the workflow's function through the chain of interceptors, which there is."""
        assert self.chain is not None and self.info is not None
        chain = self.chain
        return chain.inbound.execute_workflow(ExecuteWorkflowInput(self.info.workflow_type, fn, args, chain.headers))

    def next_number(self) -> int:
        """A number for something that code may put into a set: its hash, so that the set's order is repeatable.

        By default it would be its address. Numbers of different runs are far apart, for asyncio keeps tasks of all
        loops in one set.
        """
        self.last_number += 1
        return self.last_number

    def next_child(self) -> int:
        """The number of a child."""
        self.child_count += 1
        return self.child_count

    # --- what it asks for --------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raises WorkflowClosed in code that was dropped, EngineError where code must not ask for anything."""
        if self.barred is None:
            return
        if self.is_closed:
            self.fiber.refuse()
            return
        raise EngineError(f"{self.barred} must not call activities, start timers or wait; do that outside of it")

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

    def look(self, condition: Callable[[], object]) -> bool:
        """Whether a user's condition holds. It is asked as often as anything happens, so it must only look."""
        if self.barred is not None:
            return bool(condition())
        self.barred = "a condition"
        try:
            return bool(condition())
        finally:
            self.barred = None

    # --- what history says -------------------------------------------------------------------------

    def event_at(self, distance: int) -> HistoryEvent | None:
        """The event so many behind the WorkflowTaskStarted that is being replayed."""
        index = self._index + distance
        return self._events[index] if index < len(self._events) else None

    def ahead(self) -> Iterator[HistoryEvent]:
        """In replay: the events behind the workflow task at hand, up to the next one; its commands come first."""
        for index in range(self._index + 2, len(self._events)):
            event = self._events[index]
            if event.event_type == _TASK_STARTED:
                return
            yield event

    def not_recorded(self, entry: Entry) -> NonDeterminismError:
        """In replay: the code asks for something that history should have here, and has not. Fails the task."""
        error = mismatch.disagreement(self.event_at(2 + len(self.produced)), mismatch.entry_text(entry))
        self.violation = error
        return error

    def uses(self, flag: Flag) -> bool:
        """Whether the run does as a change of the SDK says. To be asked only where it matters, for that is recorded."""
        flags = self.flags
        if flags is None:
            flags = self.flags = Flags()
        if flag in flags.known:
            return True
        if self.replaying:
            completed = self.event_at(1)  # of the workflow task at hand: it names the changes that mattered
            if completed is None:
                return False
            if flag not in completed.workflow_task_completed_event_attributes.sdk_metadata.lang_used_flags:
                return False
        else:
            flags.new.append(int(flag))
        flags.known.add(flag)
        return True

    # --- values ------------------------------------------------------------------------------------

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
