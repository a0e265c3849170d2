"""What comes to a run from outside: signals and updates, and who takes them.

The messages of one workflow task are handed out before the code resumes for what else the task
brings, signals first, each kind in the order of its coming. A signal goes to the handler of its
name, else to code that waits for it (`wait_signal`), else to the dynamic handler; what nobody takes
is kept, and handed out when somebody asks for it. An update without a handler is held until the code
has run, for the code may be just about to register one; then it is rejected.

In replay the signals are events. An update is found at the task that accepted it, by looking ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Outcome, Request

from perdure.sdk.convert import failure_of
from perdure.sdk.convert.json_types import type_name
from perdure.sdk.declare.callables import refuses
from perdure.sdk.errors import (
    ApplicationError,
    CancelledError,
    EngineError,
    FailureError,
    PayloadCodecError,
    PayloadError,
)
from perdure.sdk.interceptors import HandleSignalInput, HandleUpdateInput, headers_of
from perdure.sdk.replay import carrying
from perdure.sdk.replay.completion import ContinueAsNew, fails_run
from perdure.sdk.replay.entry import Operation
from perdure.sdk.replay.events import reads
from perdure.sdk.replay.fiber import Ended
from perdure.sdk.replay.flags import Flag
from perdure.sdk.replay.outcome import TaskOutcome
from perdure.sdk.replay.parts import HandlerView, Shelf
from perdure.sdk.replay.remarks import RESERVED, Remarks
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.update import AcceptUpdate, CompleteUpdate, Update
from perdure.sdk.texts import class_name, text_of

_TASK_STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
_UPDATE_ACCEPTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED


class SignalWait(Operation):
    """Code that waits for a signal. Its value is the signal's."""

    __slots__ = ("inbox", "kind", "name")

    event_types = ()

    def __init__(self, inbox: Inbox, name: str, kind: Any) -> None:
        super().__init__()
        self.inbox = inbox
        self.name = name
        self.kind = kind

    def cancel(self) -> bool:
        if self.done:
            return False
        self.inbox.waits[self.name].remove(self)
        self.reject(CancelledError(f"waiting for the signal {self.name} was cancelled"))
        return True

    def describe(self) -> str:
        return f"wait for signal {self.name}"


class Inbox:
    """The messages and handlers of one run."""

    __slots__ = (
        "_admitted", "_arguments_taken", "_arrived", "_held", "_requested", "instance", "kept", "machine", "queries",
        "remarks", "running", "signals", "updates", "waits",
    )  # fmt: skip

    def __init__(self, machine: Run) -> None:
        self.machine = machine
        self.instance: Any = None
        """The workflow's object, of a class."""
        self.signals: Shelf = {}
        self.queries: Shelf = {}
        self.updates: Shelf = {}
        self.kept: list[carrying.Signal] = []
        """Signals that nobody took yet."""
        self.waits: dict[str, list[SignalWait]] = {}
        self.remarks = Remarks()
        self.running: dict[object, str] = {}
        """Handlers that have not ended, as a person would name them."""
        self._arrived: list[carrying.Signal] = []
        self._requested: list[Update] = []
        self._held: list[Update] = []
        self._admitted: dict[str, tuple[Request, int]] = {}
        self._arguments_taken: list[Any] | None = None

    # --- classes -----------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the workflow's object, so that its handlers are there before the first message is."""
        declared = self.machine.definition.handlers
        self.signals, self.queries, self.updates = declared.signals, declared.queries, declared.updates
        args: list[Any] = []
        if declared.takes_arguments:
            args = self._arguments_taken = self.machine.arguments()
        self.instance = declared.cls(*args)

    def begin(self) -> Any:
        """Call the object's run method: its value, or a coroutine."""
        taken, self._arguments_taken = self._arguments_taken, None
        args = self.machine.arguments() if taken is None else taken
        fn = self.machine.definition.fn
        if self.machine.chain is None:
            return fn(self.instance, *args)
        return self.machine.enter(partial(fn, self.instance), args)

    # --- what comes in -----------------------------------------------------------------------------

    def signaled(self, event: HistoryEvent) -> None:
        """WorkflowExecutionSignaled."""
        self._arrived.append(carrying.signal_of(event.workflow_execution_signaled_event_attributes))

    def carried(self, signals: carrying.Signals) -> None:
        """Signals that the run before this one did not take: they come before all others."""
        self._arrived.extend(signals)

    def untaken(self) -> carrying.Signals:
        """Signals that nobody took."""
        return [*self.kept, *self._arrived]

    def admitted(self, event: HistoryEvent) -> None:
        """WorkflowExecutionUpdateAdmitted: the request of an update that a reset took along."""
        request = event.workflow_execution_update_admitted_event_attributes.request
        self._admitted[request.meta.update_id] = request, event.event_id

    def requested(self, messages: Sequence[Message]) -> None:
        """The messages of the workflow task that is to be answered. Raises EngineError for one that is not known."""
        for message in messages:
            request = Request()
            if message.body.type_url and not message.body.Unpack(request):
                raise EngineError(f"a message of an unknown kind came with the workflow task: {message.body.type_url}")
            self._request(request, message.protocol_instance_id, message.id, message.event_id)

    def accepted(self, event: HistoryEvent) -> None:
        """WorkflowExecutionUpdateAccepted, seen ahead: the task at hand brought this request."""
        attributes = event.workflow_execution_update_accepted_event_attributes
        self._request(
            attributes.accepted_request,
            attributes.protocol_instance_id,
            attributes.accepted_request_message_id,
            attributes.accepted_request_sequencing_event_id,
        )

    def _request(self, request: Request, update_id: str, message_id: str, sequencing_event_id: int) -> None:
        known = self._admitted.pop(update_id, None)
        if known is not None and not request.input.name:
            request = known[0]
        self._requested.append(Update(request, update_id, message_id, sequencing_event_id))

    # --- handing out -------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Before the code resumes: begin the handlers of what came."""
        if self.instance is None and self.machine.definition.handlers is not None:
            self.create()
        arrived, self._arrived = self._arrived, []
        for signal in arrived:
            if not self._hand_out(signal):
                self.kept.append(signal)
        if self._admitted and not self.machine.replaying:  # no message comes for what history says
            for update_id, (request, event_id) in self._admitted.items():
                self._requested.append(Update(request, update_id, f"{update_id}/request", event_id))
            self._admitted = {}
        requested, self._requested = self._requested, []
        for update in requested:
            if not self._take(update):
                self._held.append(update)

    def settle(self) -> None:
        """After the code has run: reject the updates that still have no handler; see which signals nobody took."""
        if self.kept:
            names = (signal.name for signal in self.kept)
            self.remarks.look_at_kept(names, self.signals, self.waits, say=not self.machine.replaying)
        held, self._held = self._held, []
        if self.machine.replaying:
            return  # its acceptance is in history, and will be missed there
        for update in held:
            known = ", ".join(sorted(str(name) for name in self.updates)) or "none"
            text = f"no handler is registered for the update {update.name!r}; the workflow has: {known}"
            self._reject(update, ApplicationError(text, type="UnknownUpdate", non_retryable=True))

    def conclude(self, outcome: TaskOutcome) -> None:
        """Of a task that is to be answered: what else there is to say of its messages and handlers."""
        if outcome.finished:
            outcome.unfinished = list(self.running.values())
            if not isinstance(self.machine.fiber.error, ContinueAsNew):  # the next run takes the signals over
                self.remarks.look_at_end(signal.name for signal in self.kept)
        outcome.dropped, self.remarks.dropped = self.remarks.dropped, []
        outcome.untaken, self.remarks.untaken = self.remarks.untaken, []

    def _hand_out(self, signal: carrying.Signal) -> bool:
        name = signal.name
        handler = self.signals.get(name)
        if handler is not None:
            self._begin_signal(handler, signal)
            return True
        waiting = self.waits.get(name)
        if waiting:
            if self._answer(waiting[0], signal.payloads):
                del waiting[0]
            return True
        handler = None if name.startswith(RESERVED) else self.signals.get(None)
        if handler is not None:
            self._begin_signal(handler, signal)
        return handler is not None

    def _begin_signal(self, handler: HandlerView, signal: carrying.Signal) -> None:
        """Drop it if it does not fit. Raises PayloadCodecError, which fails the task."""
        name, chain = signal.name, self.machine.chain
        try:
            args = self._arguments(handler, name, signal.payloads, "signal")
        except PayloadCodecError:
            raise
        except (PayloadError, TypeError) as error:
            self._drop(name, error)
            return
        fn = handler.bind(self.instance)
        if chain is None:
            work = partial(fn, *args)
        else:
            work = partial(chain.inbound.handle_signal, HandleSignalInput(name, fn, args, headers_of(signal.header)))
        self._spawn(handler, work, f"signal {name}", self._signal_ended)

    def _drop(self, name: str, error: Exception) -> None:
        if not self.machine.replaying:
            self.remarks.drop(name, str(error))

    def _arguments(self, handler: HandlerView, name: str, payloads: Sequence[Payload], word: str) -> list[Any]:
        """Raises TypeError, PayloadError: they do not fit."""
        shape = handler.shape
        misfit = shape.misfit(len(payloads))
        if misfit:
            raise TypeError(f"its handler {misfit}")
        kinds = shape.kinds(len(payloads))
        what = f"the arguments of {word} {name}"
        args = self.machine.converter.from_payloads(payloads, kinds, what, shape.names)
        self._check(kinds, args)
        return args if handler.name is not None else [name, *args]

    def _check(self, kinds: Sequence[Any], args: list[Any]) -> None:
        """Raises TypeError for null or bytes where there cannot be any."""
        for index, (kind, value) in enumerate(zip(kinds, args, strict=False)):
            if (value is None or isinstance(value, bytes)) and refuses(kind, value):
                if not self.machine.uses(Flag.MESSAGES_CHECKED):
                    return
                raise TypeError(f"[{index}] is {'null' if value is None else 'bytes'}, and not {type_name(kind)}")

    def _answer(self, wait: SignalWait, payloads: Sequence[Payload]) -> bool:
        """Whether a wait ends with that signal: one argument is its value, none is None, more are a list of them.

        False: it does not fit, and is dropped. Raises PayloadCodecError, which fails the task.
        """
        name = wait.name
        try:
            args = self.machine.converter.from_payloads(payloads, (wait.kind,), f"the value of signal {name}")
            self._check((wait.kind,), args)
        except PayloadCodecError:
            raise
        except (PayloadError, TypeError) as error:
            self._drop(name, error)
            return False
        wait.resolve(args[0] if len(args) == 1 else (args or None))
        return True

    def _spawn(self, handler: HandlerView, work: Callable[[], Any], what: str, ended: Ended) -> None:
        mark = object()
        self.running[mark] = what

        def at_end(value: Any, error: BaseException | None) -> None:
            del self.running[mark]
            if not self.machine.is_closed:
                ended(value, error)

        self.machine.fiber.spawn(work, at_end, holds=handler.unfinished == "wait")

    def _signal_ended(self, value: Any, error: BaseException | None) -> None:
        if error is not None:
            self.machine.fiber.fail(error)

    # --- updates -----------------------------------------------------------------------------------

    def _take(self, update: Update) -> bool:
        """Accept or reject it; False when nobody handles it."""
        name = update.name
        handler = self.updates.get(name)
        if handler is None and not name.startswith(RESERVED):
            handler = self.updates.get(None)
        if handler is None:
            return False
        machine = self.machine
        fn = handler.bind(self.instance)
        try:
            args = self._arguments(handler, name, update.request.input.args.payloads, "update")
        except (PayloadError, TypeError) as error:
            if machine.replaying or isinstance(error, PayloadCodecError):
                raise
            self._reject(update, ApplicationError(f"update {name}: {text_of(error)}", type=class_name(error)))
            return True
        if not machine.replaying and not self._is_valid(update, handler, args):
            return True
        machine.emit(AcceptUpdate(machine, update))
        if machine.chain is None:
            work = partial(fn, *args)
        else:
            work = partial(machine.chain.inbound.handle_update_handler, _update_input(update, fn, args))
        self._spawn(handler, work, f"update {name} (id {update.id})", partial(self._update_ended, update))
        return True

    def _is_valid(self, update: Update, handler: HandlerView, args: list[Any]) -> bool:
        validator = handler.bind_validator(self.instance)
        if validator is None:
            return True
        machine = self.machine
        machine.barred = "the validator of an update"
        try:
            if machine.chain is None:
                validator(*args)
            else:
                machine.chain.inbound.handle_update_validator(_update_input(update, validator, args))
        except BaseException as error:  # whatever it raises is the reason of the rejection, SystemExit too
            self._reject(update, error)
            return False
        finally:
            machine.barred = None
        return True

    def _reject(self, update: Update, error: BaseException) -> None:
        self.machine.messages.append(update.rejection(failure_of(error, self.machine.converter)))

    def _update_ended(self, update: Update, value: Any, error: BaseException | None) -> None:
        machine = self.machine
        if error is not None and not fails_run(error, (FailureError, TimeoutError, *machine.definition.fail_on)):
            machine.fiber.fail(error)  # a bug: fails the task alone, as one in the workflow's function does
            return
        outcome = None
        if not machine.replaying:
            try:
                outcome = self._outcome(update, value, error)
            except PayloadError as problem:
                machine.fiber.fail(problem)
                return
        machine.emit(CompleteUpdate(machine, update, outcome))

    def _outcome(self, update: Update, value: Any, error: BaseException | None) -> Outcome:
        converter = self.machine.converter
        if error is not None:
            failure: Failure = failure_of(error, converter)
            return Outcome(failure=failure)
        return Outcome(success=converter.to_payloads_message((value,), f"the result of update {update.name}"))

    # --- what the code asks for --------------------------------------------------------------------

    def on_signal(self, handler: HandlerView) -> None:
        """Register, and hand out what was kept for it."""
        self.machine.check_open()
        self.signals = {**self.signals, handler.name: handler}
        kept, self.kept = self.kept, []
        for signal in kept:
            if not self._hand_out(signal):
                self.kept.append(signal)

    def on_query(self, handler: HandlerView) -> None:
        """Register."""
        self.machine.check_open()
        self.queries = {**self.queries, handler.name: handler}

    def on_update(self, handler: HandlerView) -> None:
        """Register, and take what is held for it."""
        self.machine.check_open()
        self.updates = {**self.updates, handler.name: handler}
        held, self._held = self._held, []
        self._held.extend(update for update in held if not self._take(update))

    def wait(self, name: str, kind: Any) -> SignalWait:
        """An operation that ends with the next signal of that name: at once when one was kept."""
        self.machine.check_open()
        wait = SignalWait(self, name, kind)
        mine = [signal for signal in self.kept if signal.name == name]
        for signal in mine:
            self.kept.remove(signal)
            if self._answer(wait, signal.payloads):
                return wait
        self.waits.setdefault(name, []).append(wait)
        return wait


def _update_input(update: Update, fn: Callable[..., Any], args: list[Any]) -> HandleUpdateInput:
    return HandleUpdateInput(update.id, update.name, fn, args, headers_of(update.request.input.header))


def inbox_of(machine: Run) -> Inbox:
    """The run's inbox; most runs never have one."""
    found = machine.inbox
    if not isinstance(found, Inbox):
        found = machine.inbox = Inbox(machine)
    return found


@reads(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
def _signaled(machine: Run, event: HistoryEvent) -> None:
    inbox_of(machine).signaled(event)


@reads(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED)
def _update_admitted(machine: Run, event: HistoryEvent) -> None:
    inbox_of(machine).admitted(event)


def look_ahead(machine: Run, events: Sequence[HistoryEvent], start: int) -> None:
    """In replay: hand over the updates that the workflow task at hand went on to accept."""
    for index in range(start, len(events)):
        kind = events[index].event_type
        if kind == _UPDATE_ACCEPTED:
            inbox_of(machine).accepted(events[index])
        elif kind == _TASK_STARTED:
            return
