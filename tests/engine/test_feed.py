"""The feed: who is told of what, and that whoever waits is right when nobody told of anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, cast

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import StatusCode
from perdure.core.commit import Commit
from perdure.core.execution import blank
from perdure.core.message import CancelExternal, Message, Origin
from perdure.core.names import ExecutionKey, QueueName, Task, TaskKind
from perdure.core.replies import UpdateNews
from perdure.engine import Engine, EngineConfig, NodeConfig
from perdure.engine.feed.feed import Feed, Topic
from perdure.engine.feed.news import News
from perdure.frontend import WorkflowService
from perdure.stores.api import Hear, Namespace, Store
from tests.core.given import accepted, message_commands, responded, update_request
from tests.core.post import cancel_external
from tests.engine.shared import Shared
from tests.engine.test_schedules import Hand, create_request, describe, minutes
from tests.engine.world import (
    CLOSE_EVENT,
    World,
    complete,
    completion,
    history,
    history_request,
    names,
    sleep,
    start_request,
    virtual,
    workflow_poll,
)
from tests.frontend.test_queries import answer, query_request
from tests.frontend.test_signals import refusal

KEY = ExecutionKey("default", "order-1", "run-1")
QUEUE = QueueName("default", "orders", TaskKind.WORKFLOW)


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.heard: list[News] = []
        self.gaps = 0

    def hear(self, news: News) -> None:
        self.heard.append(news)

    def gap(self) -> None:
        self.gaps += 1


class Deaf(Ear):
    """A listener with a bug."""

    def hear(self, news: News) -> None:
        raise ZeroDivisionError("a bug of a listener")

    def gap(self) -> None:
        raise ZeroDivisionError("a bug of a listener")


def commit(run_id: str = "run-1", **fields: Any) -> Commit:
    execution = blank(ExecutionKey("default", "order-1", run_id))
    execution.version = 3
    execution.next_event_id = 8
    return Commit(execution.key, 2, execution, **fields)


MESSAGE = Message("m", "default", "other", "", CancelExternal(b"", Origin("default", "order-1", "run-1", 5), False))
BRINGS: dict[Topic, dict[str, Any]] = {
    Topic.ROWS: {"add_tasks": [Task(QUEUE, KEY, 2)]},
    Topic.DEADLINES: {"wake_at_ns": 17},
    Topic.MESSAGES: {"messages": [MESSAGE]},
    Topic.UPDATES: {"updates": [UpdateNews("u1", 2)]},
}


def test_a_listener_hears_the_commits_that_bring_what_it_asked_for() -> None:
    feed = Feed()
    ears = {topic: Ear() for topic in (*BRINGS, Topic.EVERY, Topic.NONE, Topic.ENDS)}
    for topic, ear in ears.items():
        feed.subscribe(ear, topic)
    for fields in BRINGS.values():
        feed.publish(commit(**fields))
    feed.publish(commit(remove_messages=["m"]))
    closed = commit()
    assert closed.execution is not None
    closed.execution.closed_at_ns = 17
    feed.publish(closed)
    heard = {topic: [news.commit for news in ear.heard] for topic, ear in ears.items()}
    assert [len(heard[topic]) for topic in ears] == [1, 1, 2, 1, 6, 0, 1]
    for topic, fields in BRINGS.items():
        first = heard[topic][0]
        assert first is not None
        assert all(getattr(first, name) == value for name, value in fields.items())


def test_one_that_asked_for_several_things_hears_each_commit_once() -> None:
    feed, ear = Feed(), Ear()
    feed.subscribe(ear, Topic.ROWS | Topic.DEADLINES | Topic.EVERY)
    feed.publish(commit(add_tasks=[Task(QUEUE, KEY, 2)], wake_at_ns=17))
    assert len(ear.heard) == 1


def test_news_say_what_is_new() -> None:
    feed, ear = Feed(), Ear()
    feed.subscribe(ear, Topic.EVERY)
    made = commit(add_tasks=[Task(QUEUE, KEY, 2)], wake_at_ns=17, updates=[UpdateNews("u1", 2)])
    feed.publish(made)
    [news] = ear.heard
    assert (news.key, news.version, news.first_event_id, news.next_event_id) == (KEY, 3, 8, 8)
    assert (news.is_closed, news.wake_at_ns, news.has_messages) == (False, 17, False)
    assert (news.queues, news.updates) == ([QUEUE], ["u1"])
    assert news.commit is made


def test_each_run_of_a_chain_is_news() -> None:
    feed, ear = Feed(), Ear()
    feed.subscribe(ear, Topic.EVERY)
    feed.publish(commit(next_run=commit("run-2")))
    assert [news.key.run_id for news in ear.heard] == ["run-1", "run-2"]


def test_a_follower_hears_its_run_alone_until_it_has_heard_enough() -> None:
    feed, ear, other = Feed(), Ear(), Ear()
    feed.follow("run-1", ear)
    feed.follow("run-1", other)
    feed.publish(commit())
    feed.publish(commit("run-2"))
    feed.unfollow("run-1", ear)
    feed.publish(commit())
    assert (len(ear.heard), len(other.heard)) == (1, 2)


def test_a_follower_may_leave_while_it_is_told() -> None:
    feed, other = Feed(), Ear()

    class Once(Ear):
        def hear(self, news: News) -> None:
            super().hear(news)
            feed.unfollow(news.key.run_id, self)

    once = Once()
    feed.follow("run-1", once)
    feed.follow("run-1", other)
    feed.publish(commit())
    feed.publish(commit())
    assert (len(once.heard), len(other.heard)) == (1, 2)


def test_one_that_raises_keeps_nobody_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    feed, ear = Feed(), Ear()
    feed.subscribe(Deaf(), Topic.EVERY)
    feed.subscribe(ear, Topic.EVERY)
    feed.publish(commit())
    feed.gap()
    assert (len(ear.heard), ear.gaps) == (1, 1)
    assert "Deaf could not hear of a commit of workflow 'order-1'" in caplog.text
    assert "Deaf could not look again after a gap" in caplog.text


# --- two engines on one store -------------------------------------------------------------------------

LATE_S = 0.5
BEAT_NS = 10**9


class Carrier:
    """Carries notices late and twice, or loses all that say anything but that a node is there."""

    def __init__(self, how: str) -> None:
        self._how = how

    def __call__(self, hear: Hear, notice: bytes | None) -> None:
        if self._how == "gaps" and notice is not None and len(notice) > BEAT_BYTES_MAX:
            return
        for _ in range(2):
            asyncio.get_running_loop().call_later(LATE_S, hear, notice)


BEAT_BYTES_MAX = 50
"""A notice that holds no message."""


class Node(WorkflowService):
    """An engine, and what it is asked through."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.engine = engine


Scenario = Callable[[World, Node, Node], Coroutine[Any, Any, None]]


def on_two_nodes(scenario: Scenario) -> Callable[[str], None]:
    """Two nodes. Each learns what the other one does by news, or by no more than that some are missing."""

    @pytest.mark.parametrize("how", ["news", "gaps"])
    def run(how: str) -> None:
        @virtual
        async def both(world: World) -> None:
            shared = Shared(world.store, Carrier(how))
            config = EngineConfig(node=NodeConfig(beat_ns=BEAT_NS, look_every_ns=10**15))
            one, two = (Engine(cast(Store, shared.face()), world.clock, world.ids, config) for _ in range(2))
            await one.start()
            await two.start()
            await asyncio.sleep(10)
            await scenario(world, Node(one), Node(two))
            await two.stop()
            await one.stop()

        both()

    run.__doc__ = scenario.__doc__
    return run


BEATS_TO_MISS = 3
"""A beat later a node has said how much it told, perhaps just after the other one looked; that one sees it a beat later
at most, and gives what is late one more beat to come."""


async def within(world: World, waiting: Awaitable[Any]) -> Any:
    """What it gives, which must not take longer than it takes to see that news are missing."""
    seconds = BEATS_TO_MISS * BEAT_NS / 1e9
    began = world.loop.time()
    answer = await waiting
    assert world.loop.time() - began <= seconds
    return answer


@on_two_nodes
async def test_a_long_poll_learns_of_the_end(world: World, here: Node, there: Node) -> None:
    await here.start_workflow_execution(start_request())
    request = history_request(wait_new_event=True, history_event_filter_type=CLOSE_EVENT)
    poll = asyncio.ensure_future(here.get_workflow_execution_history(request))
    await asyncio.sleep(1)
    task = await there.poll_workflow_task_queue(workflow_poll())
    await there.respond_workflow_task_completed(completion(task.task_token, complete()))
    assert len((await within(world, poll)).history.events) == 1


@on_two_nodes
async def test_a_poll_finds_the_row(world: World, here: Node, there: Node) -> None:
    poll = asyncio.ensure_future(here.poll_workflow_task_queue(workflow_poll()))
    await asyncio.sleep(1)
    await there.start_workflow_execution(start_request())
    assert (await within(world, poll)).task_token


@on_two_nodes
async def test_who_waits_for_an_update_is_told(world: World, here: Node, there: Node) -> None:
    await here.start_workflow_execution(start_request())
    task = await there.poll_workflow_task_queue(workflow_poll())
    await there.respond_workflow_task_completed(completion(task.task_token))
    request = update_request()
    request.workflow_execution.workflow_id = "order-1"
    update = asyncio.ensure_future(here.update_workflow_execution(request))
    await asyncio.sleep(1)
    task = await there.poll_workflow_task_queue(workflow_poll())
    [asked] = task.messages
    messages = [accepted(asked), responded("u1")]
    done = completion(task.task_token, *message_commands(messages))
    done.messages.extend(messages)
    await there.respond_workflow_task_completed(done)
    assert (await within(world, update)).outcome.success.payloads[0].data == b'"set"'


@on_two_nodes
async def test_a_deadline_is_kept(world: World, here: Node, there: Node) -> None:
    """The other node stops before it comes."""
    await there.start_workflow_execution(start_request())
    task = await there.poll_workflow_task_queue(workflow_poll())
    await there.respond_workflow_task_completed(completion(task.task_token, sleep("t", 3600)))
    await asyncio.sleep(1)
    await there.engine.stop()
    await asyncio.sleep(3600)
    assert names(await history(here))[-2] == "TIMER_FIRED"


@on_two_nodes
async def test_a_schedule_learns_of_the_end_of_its_run(world: World, here: Node, there: Node) -> None:
    ids = [f"nightly-{number}" for number in range(8)]
    for schedule_id in ids:
        request = create_request(schedule_id, limited_actions=True, remaining_actions=1)
        request.schedule.action.start_workflow.workflow_id = schedule_id
        await here.create_schedule(request)
    async with Hand(there) as hand:
        await minutes(world, 1.1)
        assert len(hand.begun) == len(ids)
    owned = [schedule_id for schedule_id in ids if here.engine.duties.partitions.hold("default", schedule_id)]
    assert 0 < len(owned) < len(ids), "some learn it from their own node, and some from the other one"
    for schedule_id in ids:
        info = (await describe(here, schedule_id)).info
        assert (info.action_count, list(info.running_workflows)) == (1, [])


@on_two_nodes
async def test_a_message_of_a_node_that_dies_is_delivered(world: World, here: Node, there: Node) -> None:
    setattr(there.engine.outbox, "hear", lambda news: None)  # it dies between its commit and the delivery
    await there.start_workflow_execution(start_request())
    task = await there.poll_workflow_task_queue(workflow_poll())
    await there.respond_workflow_task_completed(completion(task.task_token, cancel_external("nobody")))
    await there.engine.abort()
    await asyncio.sleep(10)
    assert "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED" in names(await history(here))


@on_two_nodes
async def test_a_question_that_waits_for_a_workflow_task_goes_on_alone(world: World, here: Node, there: Node) -> None:
    await here.start_workflow_execution(start_request())
    task = await there.poll_workflow_task_queue(workflow_poll())
    asked = asyncio.ensure_future(here.query_workflow(query_request()))
    await asyncio.sleep(1)
    await there.respond_workflow_task_completed(completion(task.task_token))
    question = await within(world, here.poll_workflow_task_queue(workflow_poll()))
    await here.respond_query_task_completed(answer(question))
    assert (await asked).query_result.payloads[0].data == b'"paid"'


@on_two_nodes
async def test_a_namespace_is_known(world: World, here: Node, there: Node) -> None:
    """F2: registered, changed and deleted at one node."""
    request = service.RegisterNamespaceRequest(namespace="shop")
    request.workflow_execution_retention_period.seconds = 86400
    describe = service.DescribeNamespaceRequest(namespace="shop")
    await there.register_namespace(request)
    assert (await refusal(here.register_namespace(request))).code is StatusCode.ALREADY_EXISTS, "known or not"
    await asyncio.sleep(2 * LATE_S + BEAT_NS / 1e9)
    assert (await here.describe_namespace(describe)).namespace_info.name == "shop"
    await there.engine.namespaces.change("shop", lambda known: replace(known, description="orders"))
    await asyncio.sleep(2 * LATE_S + BEAT_NS / 1e9)
    assert (await here.describe_namespace(describe)).namespace_info.description == "orders"
    await there.engine.namespaces.forget("shop")
    await asyncio.sleep(2 * LATE_S + BEAT_NS / 1e9)
    assert (await refusal(here.describe_namespace(describe))).code is StatusCode.NOT_FOUND


@on_two_nodes
async def test_changes_of_a_namespace_at_two_nodes_at_once_are_both_kept(world: World, here: Node, there: Node) -> None:
    def with_attribute(name: str, kind: int) -> Callable[[Namespace], Namespace]:
        return lambda known: replace(known, search_attributes={**known.search_attributes, name: kind})

    await there.engine.namespaces.change("default", with_attribute("Colour", 2))
    changed = await here.engine.namespaces.change("default", with_attribute("Size", 3))
    assert changed.search_attributes == {"Colour": 2, "Size": 3}


@virtual
async def test_a_type_that_was_learned_does_not_replace_the_one_that_an_operator_registered(world: World) -> None:
    """At another node, of which this one has not heard yet."""
    shared = Shared(world.store, lambda hear, notice: None)
    config = EngineConfig(node=NodeConfig(), learns_search_attributes=True)
    one, two = (Engine(cast(Store, shared.face()), world.clock, world.ids, config) for _ in range(2))
    await one.start()
    await two.start()
    await two.namespaces.change("default", lambda known: replace(known, search_attributes={"Colour": 2}))
    assert one.namespaces.attribute_type("default", "Colour", 5) == 5
    await asyncio.sleep(0.1)
    assert one.namespaces.attribute_type("default", "Colour", 5) == 2
    [stored] = await world.store.namespaces()
    assert stored.search_attributes == {"Colour": 2}
    await two.stop()
    await one.stop()
