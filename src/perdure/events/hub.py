"""The hub: one workflow for each name of an event, which knows the subscribers and serves them.

What comes in are signals, and a handler that waits for nothing: it numbers the event and puts one delivery per
subscriber into a queue, so who gets an event is decided in the moment in which it is accepted. The run method
empties the queue: a signal to each subscriber, with all that there is for it, and a child for each listener and
event. It goes on when these are done, so each subscriber gets events in the order in which they were accepted.

The history stays short: when it has become long the hub continues as new, with its subscribers, what is still
to be delivered, and the ids of its newest events, by which one that is emitted twice is known.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from perdure.sdk.declare.definitions import WorkflowDefinition
from perdure.sdk.errors import ApplicationError
from perdure.sdk.workflow.children import start_child
from perdure.sdk.workflow.events import HUB_TYPE, Header, Listener, Subscriber, news_of
from perdure.sdk.workflow.workflow import workflow

REMEMBERED = 1000
"""So many of the newest event ids are kept: an event that comes again later than that is taken for another."""
BATCH = 200
"""So many deliveries are under way at once, ..."""
BATCH_SIZE = 500_000
"""... or as many as have values of about so many bytes in all: servers bound what one workflow task may ask for."""
IDLE = "1 day"
"""A hub that has had nobody to serve for so long ends; the next event or subscriber begins it again."""


class Delivery(msgspec.Struct):
    """An event, and who is to get it: a subscriber or a listener."""

    header: Header
    subscriber: Subscriber | None = None
    listener: Listener | None = None


class HubState(msgspec.Struct):
    """What one run of a hub hands to the next."""

    life: str
    accepted: int = 0
    subscribers: list[Subscriber] = msgspec.field(default_factory=list[Subscriber])
    listeners: list[Listener] = msgspec.field(default_factory=list[Listener])
    recent: list[str] = msgspec.field(default_factory=list[str])
    queue: list[Delivery] = msgspec.field(default_factory=list[Delivery])


# Unguarded, so that importing perdure does not put the guard over clocks and files of a program without workflows.
@workflow(name=HUB_TYPE, guard=False)
class EventHub:
    """Of the event whose name its id ends with. `values`: of the queue, each encoded as it came."""

    def __init__(self, state: HubState | None = None, *values: Any) -> None:
        self._state = state or HubState(workflow.uuid4().hex)
        self._values = list(values)
        self._recent = dict.fromkeys(self._state.recent)

    @workflow.run
    async def run(self, state: HubState | None = None, *values: Any) -> None:
        """Serve until nobody has been there for a while."""
        while await self._has_work():
            await self._serve()
            if workflow.info().continue_as_new_suggested and self._is_portable():
                self._state.recent = list(self._recent)
                workflow.continue_as_new(self._state, *self._values)

    async def _has_work(self) -> bool:
        """Wait for some; False when there was nobody to serve for a while."""
        state = self._state

        def is_awake() -> bool:
            return bool(state.queue) or has_anybody() != had_anybody or workflow.info().continue_as_new_suggested

        def has_anybody() -> bool:
            return bool(state.subscribers or state.listeners)

        had_anybody = has_anybody()
        return await workflow.wait_condition(is_awake, None if had_anybody else IDLE)

    # --- what is told to it --------------------------------------------------------------------------

    @workflow.signal
    def emit(self, header: Header, value: Any) -> None:
        """An event. One whose id is known changes nothing."""
        if header.id in self._recent:
            return
        self._recent[header.id] = None
        if len(self._recent) > REMEMBERED:
            del self._recent[next(iter(self._recent))]
        state = self._state
        state.accepted += 1
        header = msgspec.structs.replace(header, hub=state.life, number=state.accepted)
        concerned = [one for one in state.subscribers if one.key in (None, header.key)]
        if any(one.once for one in concerned):
            state.subscribers = [one for one in state.subscribers if not (one.once and one.key in (None, header.key))]
        deliveries = [Delivery(header, subscriber=one) for one in concerned]
        deliveries += [Delivery(header, listener=one) for one in state.listeners if one.key in (None, header.key)]
        state.queue += deliveries
        self._values += [value] * len(deliveries)

    @workflow.signal
    def subscribe(self, subscriber: Subscriber) -> None:
        """From now on. Again: as before."""
        if subscriber not in self._state.subscribers:
            self._state.subscribers.append(subscriber)

    @workflow.signal
    def unsubscribe(self, subscriber: Subscriber) -> None:
        """What it was not told by now it is not told."""
        self._state.subscribers = [one for one in self._state.subscribers if one != subscriber]

    @workflow.signal
    def listen(self, listener: Listener) -> None:
        """Start one of these for each event from now on. Again: as before, on the task queue that is named now."""
        self.stop_listening(listener.workflow_type, listener.key)
        self._state.listeners.append(listener)

    @workflow.signal
    def stop_listening(self, workflow_type: str, key: str | None = None) -> None:
        """No more of these."""
        this = (workflow_type, key)
        self._state.listeners = [one for one in self._state.listeners if (one.workflow_type, one.key) != this]

    @workflow.query
    def state(self) -> HubState:
        """Who is served, how many events there have been, what is still to be delivered."""
        return self._state

    # --- what it does ----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        count = self._batch()
        queue, self._state.queue = self._state.queue[:count], self._state.queue[count:]
        values, self._values = self._values[:count], self._values[count:]
        news: dict[Subscriber, list[tuple[Header, Any]]] = {}
        work: list[Any] = []
        for delivery, value in zip(queue, values, strict=True):
            if delivery.subscriber is not None:
                news.setdefault(delivery.subscriber, []).append((delivery.header, value))
            elif delivery.listener is not None:
                work.append(_begin(delivery.listener, delivery.header, value))
        work += [self._tell(subscriber, events) for subscriber, events in news.items()]
        await asyncio.gather(*work)

    def _batch(self) -> int:
        """How many deliveries are made next; the first one, however large it is."""
        size = 0
        for count, value in enumerate(self._values[:BATCH]):
            size += _size(value)
            if size > BATCH_SIZE:
                return max(count, 1)
        return min(len(self._values), BATCH)

    def _is_portable(self) -> bool:
        """Whether the next run can be given what is still to be delivered."""
        return len(self._values) <= BATCH and sum(map(_size, self._values)) <= BATCH_SIZE

    async def _tell(self, subscriber: Subscriber, events: list[tuple[Header, Any]]) -> None:
        """One that has ended is served no more."""
        headers, values = [header for header, _ in events], [value for _, value in events]
        try:
            await workflow.external(subscriber.workflow_id).signal(news_of(subscriber.token), headers, *values)
        except ApplicationError:  # there is no open workflow of that id
            gone = subscriber.workflow_id
            self._state.subscribers = [one for one in self._state.subscribers if one.workflow_id != gone]


def _size(value: Any) -> int:
    """About as many bytes as it takes."""
    return len(value if isinstance(value, bytes) else repr(value))


async def _begin(listener: Listener, header: Header, value: Any) -> None:
    """A child of its own for this event; if there is one of that id already, that is it."""
    definition = WorkflowDefinition[Any, Any](_anything, listener.workflow_type)
    child = start_child(
        definition,
        *((value,) if listener.takes_value else ()),
        id=f"{listener.workflow_type}/{header.id}",
        task_queue=listener.task_queue,
        parent_close_policy="abandon",
        cancellation="abandon",
        id_reuse_policy="reject_duplicate",
    )
    await workflow.wait_condition(lambda: child.run_id is not None or child.done())
    if child.done():
        child.exception()  # it exists, so it was started before
    else:
        child.cancel()  # only our waiting for it: how it ends is its own affair


def _anything(*args: Any) -> Any:
    """Stands for a workflow of which the name is known and nothing else."""
