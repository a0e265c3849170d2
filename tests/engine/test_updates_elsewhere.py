"""Updates that wait at one node, while a worker at another one rejects them or has their run end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.update.v1 import Rejection
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.engine.feed.relay import REJECTION_BYTES_MAX
from tests.core.given import continue_as_new, rejected, responded, update_request
from tests.engine.test_elsewhere import Node, nodes, polled
from tests.engine.test_feed import Carrier
from tests.engine.world import World, complete, completion, start_request, virtual
from tests.frontend.test_signals import refusal

Waiting = asyncio.Future[service.UpdateWorkflowExecutionResponse]
Scenario = Callable[[World, Node, Node], Coroutine[Any, Any, None]]


def told_by(*ways: str) -> Callable[[Scenario], Callable[[str], None]]:
    """On two nodes, of which one hears what the other does by news, or by no more than that some are missing."""

    def of(scenario: Scenario) -> Callable[[str], None]:
        @pytest.mark.parametrize("how", ways)
        def run(how: str) -> None:
            @virtual
            async def both(world: World) -> None:
                async with nodes(world, carry=Carrier(how)) as (here, there):
                    await asyncio.sleep(10)
                    await scenario(world, here, there)

            both()

        return run

    return of


async def asked(here: Node) -> Waiting:
    request = update_request()
    request.workflow_execution.workflow_id = "order-1"
    waiting = asyncio.ensure_future(here.update_workflow_execution(request))
    await asyncio.sleep(1)
    return waiting


async def begun(here: Node, there: Node) -> None:
    """The first workflow task is over, and its worker polls the other node."""
    await here.start_workflow_execution(start_request())
    task = await polled(there)
    await there.respond_workflow_task_completed(completion(task.task_token))


async def turned_down(there: Node, message: str = "no such colour", stack_trace: str = "") -> None:
    task = await polled(there)
    no = rejected(task.messages[0])
    body = Rejection()
    no.body.Unpack(body)
    body.failure.message, body.failure.stack_trace = message, stack_trace
    body.failure.application_failure_info.type = "Colour"
    no.body.Pack(body)
    done = completion(task.task_token)
    done.messages.append(no)
    await there.respond_workflow_task_completed(done)


async def refused(waiting: Waiting) -> Rejected:
    return await refusal(asyncio.wait_for(waiting, 10))


@told_by("news")
async def test_a_rejection_is_told_whole(world: World, here: Node, there: Node) -> None:
    await begun(here, there)
    waiting = await asked(here)
    await turned_down(there, stack_trace="at line 7")
    failure = (await asyncio.wait_for(waiting, 10)).outcome.failure
    assert (failure.message, failure.application_failure_info.type) == ("no such colour", "Colour")
    assert failure.stack_trace == "at line 7"


@told_by("news")
async def test_of_a_long_rejection_the_headline_is_told(world: World, here: Node, there: Node) -> None:
    await begun(here, there)
    for message, trace in (("no such colour", "x" * 100_000), ("no such colour, " + "\N{GRINNING FACE}" * 9_000, "")):
        waiting = await asked(here)
        await turned_down(there, message, trace)
        outcome = (await asyncio.wait_for(waiting, 10)).outcome
        assert outcome.failure.message.startswith("no such colour")
        assert outcome.failure.application_failure_info.type == "Colour"
        assert outcome.ByteSize() <= REJECTION_BYTES_MAX


@told_by("gaps")
async def test_who_did_not_hear_of_a_rejection_is_to_ask_again(world: World, here: Node, there: Node) -> None:
    await begun(here, there)
    waiting = await asked(here)
    await turned_down(there)
    assert (await refused(waiting)).code is StatusCode.UNAVAILABLE
    again = await asked(here)
    await turned_down(here)
    assert (await asyncio.wait_for(again, 1)).outcome.failure.message == "no such colour"


async def ended(here: Node, there: Node, *commands: Command) -> Rejected:
    """An update comes to a run whose worker, at the other node, ends it without having seen that."""
    await here.start_workflow_execution(start_request())
    task = await polled(there)
    waiting = await asked(here)
    await there.respond_workflow_task_completed(completion(task.task_token, *commands))
    return await refused(waiting)


@told_by("news", "gaps")
async def test_an_update_of_a_run_that_continued_as_new_is_to_be_asked_again(
    world: World, here: Node, there: Node
) -> None:
    error = await ended(here, there, continue_as_new())
    assert error.code is StatusCode.RESOURCE_EXHAUSTED
    assert error.message == "workflow operation can not be applied because workflow is closing"


@told_by("news", "gaps")
async def test_an_update_of_a_run_that_is_over_will_never_be_answered(world: World, here: Node, there: Node) -> None:
    error = await ended(here, there, complete())
    assert (error.code, error.message) == (StatusCode.NOT_FOUND, "workflow update was aborted by closing workflow")


@told_by("news", "gaps")
async def test_an_update_that_was_dropped_while_its_run_goes_on_is_to_be_asked_again(
    world: World, here: Node, there: Node
) -> None:
    """The worker's answer made no sense: those who wait at its own node are told so, the others to ask again."""
    await begun(here, there)
    waiting = await asked(here)
    task = await polled(there)
    bad = completion(task.task_token)
    bad.messages.append(responded("u1"))  # it was not accepted
    assert await refusal(there.respond_workflow_task_completed(bad))
    error = await refused(waiting)
    assert error.code is StatusCode.UNAVAILABLE, error
