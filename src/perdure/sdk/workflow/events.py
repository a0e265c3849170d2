"""Events: what happened is told to whom it concerns, and who that is the teller does not know.

    workflow.emit("order.paid", {"order": "1001"}, key="1001")   # in a workflow; engine.events.emit(...) from outside
    paid = workflow.wait_event("order.paid", key="1001", timeout="2 days")

    @on_event("order.paid")                                          # starts one for each event
    @workflow
    def send_invoice(event): ...

All events of one name go through one workflow, their *hub* (`perdure/events/`), which is a workflow like any
other: emitting and subscribing are signals to it, and what it sends on are signals, and children that it
starts. So an event is durable when `emit` returns, and each subscriber gets it once, for the reasons for which a
signal is handled once. Nothing here needs more of a server than signals and children.

This module is the side of those who emit and subscribe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import msgspec
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, ParentClosePolicy, WorkflowIdReusePolicy

from perdure.sdk.declare.definitions import AnyWorkflow, WorkflowDefinition
from perdure.sdk.errors import ApplicationError, CancelledError, DefinitionError, EngineError
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration
from perdure.sdk.policies import Cancellation
from perdure.sdk.replay.carrying import Signal
from perdure.sdk.replay.child import Child
from perdure.sdk.replay.completion import ContinueAsNew
from perdure.sdk.replay.entry import Operation
from perdure.sdk.replay.fiber import Fiber
from perdure.sdk.replay.greenlets import GreenletFiber
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.running import WorkflowClosed, current
from perdure.sdk.workflow.children import send_signal
from perdure.sdk.workflow.loop import WorkflowLoop
from perdure.sdk.workflow.messages import Messages
from perdure.sdk.workflow.shielding import Shield
from perdure.sdk.workflow.unawaited import noted

D = TypeVar("D", bound=AnyWorkflow | type[Any])

HUB_TYPE = "perdure.events"
HUB_ID = "perdure-events/"
"""How the workflow ids of hubs begin; the event's name follows."""

Condition = Callable[[], bool]
Steps = Generator[Condition, None, None]


class Header(msgspec.Struct, frozen=True):
    """What is known of an event beside its value."""

    id: str
    name: str
    key: str | None = None
    """What it is about: who subscribes with a key gets those of that key alone."""
    hub: str = "." * 48
    """Which life of the hub has counted it, and at what number. The hub sets them; until then they take the place
    that they will take, so that what may be emitted may be delivered, too."""
    number: int = 0


class Subscriber(msgspec.Struct, frozen=True):
    """A workflow that is to be signalled."""

    workflow_id: str
    token: str
    """Of the one subscription, among those of the workflow."""
    key: str | None = None
    once: bool = False


class Listener(msgspec.Struct, frozen=True):
    """A workflow type of which one is to be started for each event."""

    workflow_type: str
    task_queue: str
    key: str | None = None
    takes_value: bool = True


class Trigger(msgspec.Struct, frozen=True):
    """What `on_event` leaves at a workflow."""

    name: str
    key: str | None = None


def hub_of(name: str) -> str:
    """The workflow id of an event's hub. Raises ValueError for a name that is none."""
    if not name or not isinstance(name, str) or len(name) > 200:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"an event's name is a text of 1 to 200 characters, not {name!r}")
    return HUB_ID + name


def news_of(token: str) -> str:
    """The name of the signal by which the hub serves a subscription: its arguments are the headers and the values."""
    return f"__perdure_event:{token}"


@lists_options
def on_event(name: str, *, key: str | None = None) -> Callable[[D], D]:
    """Start the workflow for each event of that name: the event's value is its argument, if it takes one.

    Stands above `@workflow`, more than once if need be. It holds from when an engine that runs the workflow is
    opened, for good; `engine.events.stop_listening` ends it. The started one's id is `<workflow type>/<event id>`.

    Args:
        key: only for events with that key.

    Raises:
        DefinitionError: what it decorates is not a workflow, or takes more than one argument.
    """
    hub_of(name)

    def decorate(definition: D) -> D:
        if not isinstance(definition, WorkflowDefinition):
            raise DefinitionError(f"@on_event({name!r}) stands above @workflow, and {definition!r} is no workflow")
        takes_value(definition)
        definition.events = (*definition.events, Trigger(name, key))
        return definition

    return decorate


def takes_value(definition: AnyWorkflow) -> bool:
    """Whether a workflow is given the event's value, or nothing. Raises DefinitionError when it takes more."""
    for count in (1, 0):
        try:
            definition.bind((None,) * count, {})
        except TypeError:
            continue
        return count == 1
    raise DefinitionError(f"{definition.name} is started by an event, and can be given its value alone: one argument")


@lists_options
class Subscription:
    """What `workflow.subscribe` gives: a block in which events are collected, in the order of their coming.

    with workflow.subscribe("order.paid") as payments:      # in an `async def` workflow: async with
        workflow.emit("invoice.sent", ...)                  # an answer to this cannot be missed
        payment = payments.next(timeout="2 days")           # async: await payments.next(...)

    A `continue_as_new` out of the block leaves the subscription in force for the next run, which takes it up
    by subscribing likewise, and has first what has come and was not taken.

    `next` raises TimeoutError, the builtin one; opening and closing raise what `workflow.emit` raises.
    """

    def __init__(self, machine: Run, name: str, key: str | None, returns: Any, *, once: bool) -> None:
        self._machine = machine
        self._hub_id = hub_of(name)
        self._name = name
        self._returns = returns
        self._subscriber = Subscriber(_info(machine).workflow_id, _token(machine, name, key, once), key, once)
        self._signal = news_of(self._subscriber.token)
        self._news: deque[tuple[Header, Any]] = deque()
        self._newest = ("", 0)

    @property
    def has_news(self) -> bool:
        """Whether `next` would return at once."""
        inbox = self._machine.inbox
        return bool(self._news) or any(kept.name == self._signal for kept in (inbox.kept if inbox else ()))

    def next(self, timeout: Duration | None = None) -> Any:
        """The value of the next event; in an `async def` workflow, await what it returns.

        Raises:
            TimeoutError: the builtin one; `timeout` passed, and the subscription goes on.
            CancelledError: the workflow was cancelled.
        """
        return self._machine.fiber.carry("subscription.next", self._next_here, self._next_async, timeout)

    def _next_here(self, fiber: Fiber, timeout: Duration | None) -> Any:
        while not self._news:
            try:
                self._take(Messages.wait_signal(self._signal, timeout))
            except TimeoutError:
                raise self._late(timeout) from None
        return self._pop()

    async def _next_async(self, fiber: Fiber, timeout: Duration | None) -> Any:
        while not self._news:
            try:
                self._take(await Messages.wait_signal(self._signal, timeout))
            except TimeoutError:
                raise self._late(timeout) from None
        return self._pop()

    def _late(self, timeout: Duration | None) -> TimeoutError:
        return TimeoutError(f"no event {self._name!r} came within {timeout}")

    def _take(self, news: list[Any]) -> None:
        """What one signal brought; anything that was brought before is dropped."""
        headers, *values = news
        for header, value in zip(msgspec.convert(headers, list[Header]), values, strict=True):
            hub, number = self._newest
            if header.hub == hub and header.number <= number:
                continue
            self._newest = (header.hub, header.number)
            self._news.append((header, value))

    def _pop(self) -> Any:
        _, value = self._news.popleft()
        if self._returns is Any:
            return value
        converter = self._machine.converter
        return converter.from_payload(converter.to_payload(value), self._returns, f"event {self._name}")

    def open(self) -> Awaitable[None]:
        """Subscribe; returns, or can be awaited, when the hub has taken note."""
        steps = tell(self._machine, self._hub_id, "subscribe", (self._subscriber,))
        return noted(self._machine, "subscription.open", self._machine.fiber.follow(steps))

    def close(self) -> Awaitable[None]:
        """Unsubscribe; returns, or can be awaited, when the hub has taken note. Not interrupted by a cancellation."""
        return self._machine.fiber.carry("subscription.close", self._close_here, self._close_async)

    def _close_here(self, fiber: Fiber) -> Awaitable[None]:
        with Shield(fiber):
            return fiber.follow(self._leave())

    async def _close_async(self, fiber: Fiber) -> None:
        with Shield(fiber):
            await fiber.follow(self._leave())

    def _leave(self) -> Steps:
        told = send_signal(self._machine, self._hub_id, "", "unsubscribe", (self._subscriber,), is_child=False)
        yield partial(_is_done, told)  # a hub that is no more has forgotten it

    def __enter__(self) -> Subscription:
        if not self._machine.fiber.blocks:
            raise EngineError("in an `async def` workflow, write `async with workflow.subscribe(...)`")
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_left_open(error):
            self.close()

    async def __aenter__(self) -> Subscription:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_left_open(error):
            await self.close()

    def _is_left_open(self, error: BaseException | None) -> bool:
        """For the next run; or because this run is being dropped from memory, and goes on elsewhere."""
        if isinstance(error, ContinueAsNew):
            self._hand_on()
            return True
        return self._machine.barred is not None or isinstance(error, (WorkflowClosed, GeneratorExit))

    def _hand_on(self) -> None:
        """What was not taken becomes a signal again that nobody took: these go on to the next run."""
        inbox = self._machine.inbox
        if self._news and inbox is not None:
            headers, values = [header for header, _ in self._news], [value for _, value in self._news]
            inbox.kept.insert(0, Signal(self._signal, self._machine.converter.to_payloads((headers, *values))))


@lists_options
class Events:
    """The part of `workflow` that is about events."""

    @staticmethod
    def emit(name: str, value: Any = None, *, key: str | None = None) -> Awaitable[None]:
        """Tell whoever has subscribed, each once. Durable when it returns; in an `async def` workflow, await it.

        Args:
            name: of the event; all events of one name are delivered in the order in which they were accepted.
            value: anything that can be an argument.
            key: what it is about; who has subscribed with a key gets those of that key.

        Raises:
            PayloadError: the value cannot be serialised. Fails the task even if caught.
            CancelledError: the workflow was cancelled; it may have been emitted.
        """
        machine = current("workflow.emit()")
        info = _info(machine)
        header = Header(f"{info.workflow_id}/{info.original_run_id}/{_count(machine, 'emitted')}", name, key)
        return noted(
            machine, "workflow.emit", machine.fiber.follow(tell(machine, hub_of(name), "emit", (header, value)))
        )

    @staticmethod
    def subscribe(name: str, *, key: str | None = None, returns: Any = Any) -> Subscription:
        """Collect the events of that name which are emitted while the block lasts. See `Subscription`.

        Args:
            key: only those with that key.
            returns: what their values are decoded to.
        """
        return Subscription(current("workflow.subscribe()"), name, key, returns, once=False)

    @staticmethod
    def wait_event(name: str, *, key: str | None = None, timeout: Duration | None = None, returns: Any = Any) -> Any:
        """The value of the next event of that name that is emitted from now on; in `async def`, await what it returns.

        What was emitted before is not seen. To ask and then wait for the answer, `subscribe` before asking.

        Args:
            key: only one with that key.
            timeout: how long to wait.
            returns: what the value is decoded to.

        Raises:
            TimeoutError: the builtin one; `timeout` passed.
            CancelledError: the workflow was cancelled.
        """
        machine = current("workflow.wait_event()")
        subscription = Subscription(machine, name, key, returns, once=True)
        what = "workflow.wait_event"
        return machine.fiber.carry(what, _wait_event_here, _wait_event_async, subscription, timeout)


def _wait_event_here(fiber: GreenletFiber, subscription: Subscription, timeout: Duration | None) -> Any:
    subscription.open()
    try:
        return subscription.next(timeout)
    except (TimeoutError, CancelledError):
        subscription.close()
        raise


async def _wait_event_async(fiber: WorkflowLoop, subscription: Subscription, timeout: Duration | None) -> Any:
    await subscription.open()
    try:
        return await subscription.next(timeout)
    except (TimeoutError, asyncio.CancelledError):
        if fiber.machine.barred is None:
            await subscription.close()
        raise


# --- the steps ---------------------------------------------------------------------------------------


def tell(machine: Run, hub_id: str, signal: str, args: tuple[Any, ...]) -> Steps:
    """Signal a hub; begin it if there is none. Raises what cannot be helped."""
    while True:
        told = send_signal(machine, hub_id, "", signal, args, is_child=False)
        yield partial(_is_done, told)
        if not _is(told.error, "WorkflowNotFound"):
            break
        hub = _begin(machine, hub_id)
        yield partial(_has_begun, hub)
        cause = hub.error.__cause__ if hub.error is not None else None
        if cause is not None and not _is(cause, "WorkflowAlreadyStarted"):
            raise hub.error or cause
    if told.error is not None:
        raise told.error


def _begin(machine: Run, hub_id: str) -> Child:
    child = Child(machine, HUB_TYPE, hub_id, Any, Cancellation.ABANDON)
    if not machine.replaying:
        child.command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
        attributes = child.command.start_child_workflow_execution_command_attributes
        attributes.namespace = machine.namespace
        attributes.workflow_id = hub_id
        attributes.workflow_type.name = HUB_TYPE
        attributes.task_queue.name = machine.task_queue
        attributes.parent_close_policy = ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
        attributes.workflow_id_reuse_policy = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
    machine.emit(child)
    return child


def _is_done(operation: Operation) -> bool:
    return operation.done


def _has_begun(hub: Child) -> bool:
    return hub.done or hub.run_id is not None


def _is(error: BaseException | None, kind: str) -> bool:
    return isinstance(error, ApplicationError) and error.type == kind


def _info(machine: Run) -> Any:
    info = machine.info
    assert info is not None, "workflow code runs after the first event"
    return info


def _token(machine: Run, name: str, key: str | None, once: bool) -> str:
    """Of one wait: of this run alone. Of a subscription: the same in the next run, which takes it up."""
    if once:
        return f"{_info(machine).original_run_id}/{_count(machine, 'waits')}"
    words = name if key is None else f"{name}/{key}"
    number = _count(machine, f"subscriptions {words}")
    return words if number == 1 else f"{words}#{number}"


def _count(machine: Run, what: str) -> int:
    """How often this has been asked by now: 1, 2, …"""
    machine.check_open()
    counts = machine.event_counts
    if counts is None:
        counts = machine.event_counts = {}
    counts[what] = counts.get(what, 0) + 1
    return counts[what]
