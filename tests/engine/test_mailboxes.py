"""Commands meet the law: order, lost races, bugs, bounds, callers who leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core import execution as law
from perdure.core.commands import RequestCancel, Signal, StartWorkflow, Terminate
from perdure.core.commit import Commit
from perdure.core.execution import Execution
from perdure.core.replies import Started
from perdure.engine import NodeConfig
from perdure.engine.deciding import mailboxes
from perdure.engine.engine import Engine
from perdure.frontend import WorkflowService
from perdure.stores.api import OutcomeUnknown
from tests.engine.world import (
    ORDER,
    Worker,
    World,
    activity_poll,
    completion,
    describe_request,
    history,
    names,
    outcome,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)


def start(workflow_id: str = "order-1", **fields: Any) -> StartWorkflow:
    return StartWorkflow(start_request(workflow_id, **fields))


def terminate(reason: str = "") -> Terminate:
    return Terminate(service.TerminateWorkflowExecutionRequest(namespace="default", reason=reason))


def cancel(reason: str = "") -> RequestCancel:
    return RequestCancel(service.RequestCancelWorkflowExecutionRequest(namespace="default", reason=reason))


def status(execution: Execution | None) -> int:
    return 0 if execution is None else execution.status


def rejection(result: Any) -> StatusCode:
    assert isinstance(result, Rejected), result
    return result.code


@virtual
async def test_what_waits_for_one_workflow_is_one_commit(world: World) -> None:
    async with world.engine() as engine:
        calls = [engine.submit("default", "order-1", None, command) for command in (start(), cancel(), terminate())]
        await asyncio.gather(*calls)
        assert engine.metrics().commits == 1
        assert names(await history(WorkflowService(engine)))[-1] == "WORKFLOW_EXECUTION_TERMINATED"


@virtual
async def test_a_fresh_workflow_is_started_without_a_read(world: World) -> None:
    async with world.engine() as engine:
        await engine.submit("default", "order-1", None, start())
        assert "load" not in world.store.calls


@virtual
async def test_a_start_that_guessed_wrong_is_decided_again_on_what_is_stored(world: World) -> None:
    async with world.engine() as engine:
        first = await engine.submit("default", "order-1", None, start(request_id="a"))
    async with world.engine() as engine:
        again = await engine.submit("default", "order-1", None, start(request_id="a"))
        assert (again.run_id, again.created) == (first.run_id, True), "the same request has the same answer"
        with pytest.raises(Rejected) as refused:
            await engine.submit("default", "order-1", None, start(request_id="b"))
        assert refused.value.code is StatusCode.ALREADY_EXISTS
        assert engine.metrics().conflicts == 1


@virtual
async def test_a_read_sees_what_was_submitted_before_it_and_is_durable(world: World) -> None:
    async with world.engine() as engine:
        world.store.gate = asyncio.Event()
        started = engine.submit("default", "order-1", None, start())
        seen = engine.read("default", "order-1", None, status)
        await asyncio.sleep(5)
        assert not seen.done(), "nothing is visible before it is durable"
        world.store.gate.set()
        assert await seen == 1
        assert started.done()


@virtual
async def test_one_commit_of_a_workflow_is_in_flight_at_a_time(world: World) -> None:
    async with world.engine() as engine:
        world.store.gate = asyncio.Event()
        first = engine.submit("default", "order-1", None, start())
        await asyncio.sleep(1)
        second = engine.submit("default", "order-1", None, cancel())
        await asyncio.sleep(1)
        assert world.store.calls.count("commit") == 1
        world.store.gate.set()
        await asyncio.gather(first, second)
        assert world.store.batches == [1, 1]


@pytest.mark.parametrize("lost", [1, 3, 19])
def test_lost_races_are_decided_again(lost: int) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            worker = Worker(connection).start(pollers=2)
            await asyncio.sleep(1)
            world.store.conflicts = lost
            await connection.start_workflow_execution(start_request())
            world.store.conflicts = lost
            await outcome(connection, "order-1")
            assert names(await history(connection)) == ORDER
            assert engine.metrics().conflicts == 2 * lost
            assert len(worker.ran) == 2
            await worker.stop()

    scenario()


@virtual
async def test_races_lost_for_ever_end_with_unavailable(world: World) -> None:
    async with world.engine() as engine:
        world.store.conflicts = 1_000
        with pytest.raises(Rejected) as refused:
            await engine.submit("default", "order-1", None, start())
        assert refused.value.code is StatusCode.UNAVAILABLE
        world.store.conflicts = 0
        assert (await engine.submit("default", "order-1", None, start())).created


@virtual
async def test_a_lost_race_keeps_the_poller(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        poll = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        world.store.conflicts = 1
        await connection.start_workflow_execution(start_request())
        assert (await poll).task_token
        assert engine.metrics().row_starts == 0


@virtual
async def test_a_failing_store_fails_those_who_wait_and_nobody_else(world: World) -> None:
    async with world.engine() as engine:
        failing = True
        world.store.fails = lambda method: failing and method in ("commit", "load")
        refused = [
            rejection(result)
            for result in await asyncio.gather(
                engine.submit("default", "order-1", None, start()),
                engine.submit("default", "order-2", None, start("order-2")),
                engine.submit("default", "order-3", None, terminate()),
                return_exceptions=True,
            )
        ]
        assert refused == [StatusCode.UNAVAILABLE] * 3
        failing = False
        assert (await engine.submit("default", "order-1", None, start())).created
        assert await engine.read("default", "order-2", None, status) == 0


@virtual
async def test_a_commit_of_which_nothing_is_known_is_looked_for(world: World) -> None:
    """It was applied, and nobody was told: neither the caller, nor those who hear the news."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await engine.submit("default", "order-0", None, start("order-0"))
        assert (await connection.poll_workflow_task_queue(workflow_poll())).task_token
        commit = world.store.inner.commit

        async def lose(commits: Any) -> Any:
            await commit(commits)
            raise OutcomeUnknown("the store was lost")

        setattr(world.store.inner, "commit", lose)
        calls = [engine.submit("default", "order-1", None, start())]
        [result] = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(result, Rejected)
        assert result.code is StatusCode.UNAVAILABLE
        assert "not known" in result.outside
        setattr(world.store.inner, "commit", commit)
        assert await engine.read("default", "order-1", None, status) == 1
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert task.workflow_execution.workflow_id == "order-1"


@virtual
async def test_a_store_that_breaks_is_an_internal_error_and_the_loop_goes_on(world: World) -> None:
    async with world.engine() as engine:
        world.store.breaks = lambda method: method == "commit"
        results = await asyncio.gather(engine.submit("default", "order-1", None, start()), return_exceptions=True)
        assert rejection(results[0]) is StatusCode.INTERNAL
        world.store.breaks = lambda method: False
        assert (await engine.submit("default", "order-1", None, start())).created


@virtual
async def test_a_state_that_cannot_be_read_harms_only_its_own_workflow(world: World) -> None:
    async with world.engine() as engine:
        for number in range(3):
            await engine.submit("default", f"order-{number}", None, start(f"order-{number}"))
    async with world.engine() as engine:
        load = world.store.inner.load

        async def damaged(references: Any) -> Any:
            if any(reference.workflow_id == "order-1" for reference in references):
                raise ValueError("a snapshot of nonsense")
            return await load(references)

        setattr(world.store.inner, "load", damaged)
        results = await asyncio.gather(
            *(engine.read("default", f"order-{number}", None, status) for number in range(3)), return_exceptions=True
        )
        assert results[0] == results[2] == 1
        assert rejection(results[1]) is StatusCode.DATA_LOSS


def test_a_bug_in_core_fails_that_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(execution: Any, commands: Any, context: Any) -> Any:
        if any(isinstance(command, RequestCancel) for command in commands):
            raise ZeroDivisionError("a bug of core")
        return law.decide(execution, commands, context)

    monkeypatch.setattr(mailboxes, "decide", decide)

    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            results = await asyncio.gather(
                *(engine.submit("default", "order-1", None, command) for command in (start(), cancel(), terminate())),
                return_exceptions=True,
            )
            assert getattr(results[0], "created", False)
            assert rejection(results[1]) is StatusCode.INTERNAL
            assert results[2] is None
            assert engine.metrics().decision_errors == 2
            assert names(await history(WorkflowService(engine)))[-1] == "WORKFLOW_EXECUTION_TERMINATED"

    scenario()


@virtual
async def test_a_caller_who_left_before_the_decision_takes_the_command_back(world: World) -> None:
    async with world.engine() as engine:
        engine.submit("default", "order-1", None, start()).cancel()
        gone = engine.submit("default", "order-2", None, start("order-2"))
        world.store.gate = asyncio.Event()
        await asyncio.sleep(1)
        gone.cancel()
        world.store.gate.set()
        assert await engine.read("default", "order-1", None, status) == 0
        assert await engine.read("default", "order-2", None, status) == 1, "it was decided already"
        assert engine.metrics().waiting_calls == 0


@virtual
async def test_a_command_for_an_older_run_meets_that_run(world: World) -> None:
    async with world.engine() as engine:
        old = await engine.submit("default", "order-1", None, start())
        await engine.submit("default", "order-1", None, terminate())
        new = await engine.submit("default", "order-1", None, start())
        results = await asyncio.gather(
            engine.submit("default", "order-1", old.run_id, terminate()),
            engine.submit("default", "order-1", new.run_id, cancel()),
            engine.read("default", "order-1", old.run_id, status),
            engine.submit("default", "order-1", "no-such-run", terminate()),
            engine.read("default", "order-1", None, status),
            return_exceptions=True,
        )
        assert rejection(results[0]) is StatusCode.NOT_FOUND
        assert results[1] is None
        assert results[2] == 5, "terminated"
        assert rejection(results[3]) is StatusCode.NOT_FOUND
        assert results[4] == 1


@virtual
async def test_a_start_may_replace_an_open_run(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        old = await connection.start_workflow_execution(start_request())
        new = await connection.start_workflow_execution(start_request(workflow_id_conflict_policy=3))
        assert names(await history(connection, run_id=old.run_id))[-1] == "WORKFLOW_EXECUTION_TERMINATED"
        assert names(await history(connection, run_id=new.run_id))[0] == "WORKFLOW_EXECUTION_STARTED"
        described = await connection.describe_workflow_execution(describe_request())
        assert described.workflow_execution_info.execution.run_id == new.run_id


@virtual
async def test_mailboxes_and_the_engine_are_bounded(world: World) -> None:
    async with world.engine(calls_per_mailbox_max=3, calls_max=5) as engine:
        kept = [engine.submit("default", "order-1", None, start()) for _ in range(3)]
        with pytest.raises(Rejected) as refused:
            engine.submit("default", "order-1", None, start())
        assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED
        kept += [engine.submit("default", f"order-{number}", None, start()) for number in (2, 3)]
        with pytest.raises(Rejected) as refused:
            engine.submit("default", "order-4", None, start())
        assert refused.value.code is StatusCode.RESOURCE_EXHAUSTED
        await asyncio.gather(*kept, return_exceptions=True)
        assert engine.metrics().waiting_calls == 0
        assert (await engine.submit("default", "order-5", None, start("order-5"))).created


@virtual
async def test_a_stop_finishes_what_was_submitted_and_refuses_what_comes(world: World) -> None:
    async with world.engine() as engine:
        world.store.gate = asyncio.Event()
        started = engine.submit("default", "order-1", None, start())
        await asyncio.sleep(1)
        stopping = asyncio.create_task(engine.stop())
        await asyncio.sleep(1)
        with pytest.raises(Rejected) as refused:
            engine.submit("default", "order-2", None, start("order-2"))
        assert refused.value.code is StatusCode.UNAVAILABLE
        world.store.gate.set()
        assert (await started).created
        await stopping


@virtual
async def test_a_stop_does_not_wait_for_ever(world: World) -> None:
    async with world.engine(stop_grace_ns=3_000_000_000) as engine:
        world.store.gate = asyncio.Event()
        started = engine.submit("default", "order-1", None, start())
        waiting = engine.submit("default", "order-1", None, cancel())
        await asyncio.sleep(1)
        await engine.stop()
        assert rejection(started.exception()) is StatusCode.UNAVAILABLE
        assert rejection(waiting.exception()) is StatusCode.UNAVAILABLE


@virtual
async def test_two_nodes_on_one_store_serve_one_workflow_together(world: World) -> None:
    async with world.engine(node=NodeConfig()) as one, world.engine(node=NodeConfig()) as two:
        nodes = [WorkflowService(one), WorkflowService(two)]
        workers = [Worker(node, steps=3).start() for node in nodes]
        for number in range(20):
            await nodes[number % 2].start_workflow_execution(start_request(f"order-{number}"))
        for number in range(20):
            await outcome(nodes[(number + 1) % 2], f"order-{number}")
        assert sorted(workers[0].ran + workers[1].ran) == sorted({*workers[0].ran, *workers[1].ran})
        assert len(workers[0].ran) + len(workers[1].ran) == 60
        assert workers[0].ran
        assert workers[1].ran
        for worker in workers:
            await worker.stop()


@virtual
async def test_a_refusal_is_not_given_on_a_stale_state(world: World) -> None:
    """Node two closed the run; node one, which remembers it as open, must not refuse another for it."""
    async with world.engine(node=NodeConfig()) as one, world.engine(node=NodeConfig()) as two:
        await one.submit("default", "order-1", None, start())
        await two.submit("default", "order-1", None, terminate())
        assert isinstance(await one.submit("default", "order-1", None, start(request_id="again")), Started)
        assert await two.read("default", "order-1", None, status) == 1


@virtual
async def test_a_read_is_not_of_a_stale_state(world: World) -> None:
    async with world.engine(node=NodeConfig()) as one, world.engine(node=NodeConfig()) as two:
        await one.submit("default", "order-1", None, start())
        await two.submit("default", "order-1", None, terminate())
        assert await one.read("default", "order-1", None, status) == 5


@virtual
async def test_an_answer_for_another_attempt_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await asyncio.sleep(11)
        with pytest.raises(Rejected) as refused:
            await connection.respond_workflow_task_completed(completion(task.task_token))
        assert refused.value.code is StatusCode.NOT_FOUND


# --- what cannot be stored ----------------------------------------------------------------------------


def is_bad(commit: Commit) -> bool:
    return commit.key.workflow_id.startswith("bad")


def crowd(engine: Engine) -> list[Any]:
    """Thirty starts at once, every sixth of them a bad one."""
    ids = [f"bad-{number}" if number % 6 == 3 else f"order-{number}" for number in range(30)]
    return [engine.submit("default", workflow_id, None, start(workflow_id)) for workflow_id in ids]


@virtual
async def test_a_commit_that_cannot_be_stored_fails_alone_and_its_neighbours_notice_nothing(world: World) -> None:
    async with world.engine() as engine:
        world.store.refuses = is_bad
        results = await asyncio.gather(*crowd(engine), return_exceptions=True)
        assert [rejection(result) for result in results[3::6]] == [StatusCode.INVALID_ARGUMENT] * 5
        assert "no column is wide enough" in str(results[3])
        assert sum(isinstance(result, Started) and result.created for result in results) == 25
        assert world.store.batches == [30], "one transaction for all of them"
        assert engine.metrics().waiting_calls == 0
        world.store.refuses = lambda commit: False
        assert (await engine.submit("default", "bad-3", None, start("bad-3"))).created


@virtual
async def test_a_batch_that_breaks_the_store_is_taken_apart(world: World) -> None:
    async with world.engine() as engine:
        world.store.chokes = is_bad
        results = await asyncio.gather(*crowd(engine), return_exceptions=True)
        assert [rejection(result) for result in results[3::6]] == [StatusCode.INTERNAL] * 5
        assert sum(isinstance(result, Started) and result.created for result in results) == 25
        assert len(world.store.batches) < 40
        assert engine.metrics().waiting_calls == 0


@virtual
async def test_of_the_calls_in_one_commit_the_bad_one_alone_is_refused(world: World) -> None:
    async with world.engine() as engine:
        await engine.submit("default", "order-1", None, start())
        world.store.refuses = lambda commit: any(
            event.workflow_execution_signaled_event_attributes.signal_name == "bad" for event in commit.events
        )
        calls = [engine.submit("default", "order-1", None, signal(name)) for name in ("a", "b", "bad", "c", "bad", "d")]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(result, Rejected) for result in results] == [False, False, True, False, True, False]
        events = await history(WorkflowService(engine))
        signals = [event.workflow_execution_signaled_event_attributes.signal_name for event in events]
        assert [name for name in signals if name] == ["a", "b", "c", "d"]
        assert (await engine.read("default", "order-1", None, status)) == 1


def signal(name: str) -> Signal:
    return Signal(service.SignalWorkflowExecutionRequest(namespace="default", signal_name=name))


@virtual
async def test_a_poller_set_aside_for_a_commit_that_cannot_be_stored_waits_on(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        poll = asyncio.ensure_future(connection.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        world.store.refuses = is_bad
        with pytest.raises(Rejected):
            await engine.submit("default", "bad", None, start("bad"))
        await engine.submit("default", "order-1", None, start())
        assert (await poll).workflow_execution.workflow_id == "order-1"


@virtual
async def test_the_newest_events_in_memory_weigh_what_they_are_said_to(world: World) -> None:
    """Of commits with many events, few and none, some of which push older ones out."""
    async with world.engine(tail_events_max=6, tail_bytes_max=3_000) as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        lengths: list[int] = []
        for number in range(12):
            size = 4_000 if number == 10 else 10 * number
            request = service.SignalWorkflowExecutionRequest(namespace="default", signal_name="go")
            request.input.payloads.add(data=b"x" * size)
            await engine.submit("default", "order-1", None, Signal(request))
            if number % 3 == 0:
                task = await connection.poll_workflow_task_queue(workflow_poll())
                await connection.respond_workflow_task_completed(
                    completion(task.task_token, *[schedule(f"{number}-{place}") for place in range(number)])
                )
            if number in (2, 9, 10):
                await connection.poll_activity_task_queue(activity_poll())  # a commit without events
            mailbox = engine.mailboxes.peek("default", "order-1")
            assert mailbox is not None and mailbox.execution is not None
            weight = sum(event.ByteSize() for event in mailbox.tail)
            assert mailbox.tail_base_bytes + weight == mailbox.execution.history_bytes
            assert [event.event_id for event in mailbox.tail] == list(
                range(mailbox.execution.next_event_id - len(mailbox.tail), mailbox.execution.next_event_id)
            )
            lengths.append(len(mailbox.tail))
        assert 0 in lengths, "a batch that is too large is not kept"
        assert max(lengths) > 6, "of which there are many are kept while they are small"
