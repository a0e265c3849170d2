"""Runs a program as an `async def` workflow, with asyncio's own tools where they exist."""

from __future__ import annotations

import asyncio

import msgspec

from perdure.models.saga import Saga
from perdure.sdk.errors import ActivityError, ApplicationError, CancelledError, ChildWorkflowError
from perdure.sdk.workflow.children import start_child
from perdure.sdk.workflow.local_calls import start_local
from perdure.sdk.workflow.workflow import start, workflow
from tests.simulation.activities import failed, local_performer, performer
from tests.simulation.post import Carried, Post, ear, kid
from tests.simulation.programs import (
    DAY,
    Abort,
    Act,
    Again,
    All,
    Asked,
    Bear,
    Deadline,
    Do,
    Draw,
    Local,
    Nap,
    Program,
    Race,
    Scoped,
    Step,
    Tell,
    Told,
    Undo,
)
from tests.simulation.sync_workflow import draw


@workflow(name="simulated_async")
async def simulated_async(program: Program, carried: Carried | None = None) -> list[str]:
    """The result says what every step came to."""
    carried = carried or Carried()
    results, post = list(carried.results), Post(program, carried)
    if program.letters:
        workflow.on_signal("tell", post.told.append)
        workflow.on_update("ask", post.answer_async, validator=post.check)
    workflow.on_query("told", post.told_so_far)
    for position, step in enumerate(program.steps):
        if isinstance(step, Again):
            await workflow.wait_condition(workflow.all_handlers_finished)
            rest = msgspec.structs.replace(program, steps=program.steps[position + 1 :])
            workflow.continue_as_new(rest, post.carry(results))
        results += await _take_message(step, post) or await _take(step, position)
    if program.letters:
        await workflow.wait_condition(workflow.all_handlers_finished)  # a client may repeat what was answered long ago
    if program.raises:
        raise ApplicationError(" ".join(results), type="Meant")
    if program.cancelled:
        results += await _be_cancelled()
    return results


async def _be_cancelled() -> list[str]:
    try:
        await workflow.sleep(300 * DAY)
    except (asyncio.CancelledError, CancelledError):
        tidy = Act("tidy-up", "async", seconds=1.0)
        return [await start(performer(tidy), tidy)]
    return ["nobody cancelled"]


async def _take_message(step: Step, post: Post) -> list[str]:
    """What a step about messages came to; nothing for the others."""
    match step:
        case Told(numbers):
            await workflow.wait_condition(lambda: post.has(numbers))
            return [post.said(numbers)]
        case Asked(number):
            await workflow.wait_condition(lambda: number in post.asked)
            return [f"asked {number}: {post.asked[number]}"]
        case Bear(act, cancelled_after):
            return [await _bear(act, cancelled_after)]
        case Tell(numbers):
            return await _tell(numbers)
        case Scoped(act, after):
            with workflow.scope() as scope:
                task = asyncio.create_task(_run(act))
                await asyncio.sleep(after)
                scope.cancel()
                await task
            return [f"{act.name} left"]
        case Undo(done, undone, breaks):
            return await _undo(done, undone, breaks)
        case _:
            return []


async def _bear(act: Act, cancelled_after: float) -> str:
    child = start_child(kid, act, id=f"kid-{act.name}")
    if cancelled_after:
        await asyncio.sleep(cancelled_after)
        child.cancel()
    try:
        return await child
    except ChildWorkflowError as error:
        return f"{act.name} {type(error.cause).__name__}"


async def _tell(numbers: list[int]) -> list[str]:
    child = start_child(ear, len(numbers), id=f"ear-{workflow.info().run_id}-{numbers}")
    await asyncio.gather(*(child.signal("tell", number) for number in numbers))
    try:
        await workflow.external("nobody").signal("tell", 0)
    except ApplicationError as error:
        return [await child, "nobody there" if error.type == "WorkflowNotFound" else str(error)]
    return ["somebody there"]


async def _undo(done: list[Act], undone: list[Act], breaks: Act) -> list[str]:
    results: list[str] = []
    try:
        async with Saga() as saga:
            for act, undo in zip(done, undone, strict=True):
                results.append(await _run(act))
                saga.compensate(performer(undo), undo)
            await start(performer(breaks), breaks)
    except ActivityError:
        return results + [f"{act.name} done" for act in reversed(undone)]
    return ["it did not break"]


async def _take(step: Step, position: int) -> list[str]:
    match step:
        case Do(act):
            return [await _run(act)]
        case Local(act, durable):
            return [await _run_local(act, durable=durable)]
        case Nap(seconds):
            await asyncio.sleep(seconds)
            return [f"napped {seconds}"]
        case All(acts):
            return list(await asyncio.gather(*[_run(act) for act in acts]))
        case Race(fast, slow):
            return await _race(fast, slow)
        case Deadline(act, seconds, _):
            return [await _until(act, seconds)]
        case Abort(act, after):
            task = asyncio.create_task(_run(act))
            await asyncio.sleep(after)
            task.cancel()
            return [await _outcome(act, task)]
        case Draw(what):
            return [draw(what, position)]
        case _:
            raise AssertionError(f"nobody knows {step}")


async def _run(act: Act) -> str:
    try:
        return await start(performer(act), act)
    except CancelledError:
        return f"{act.name} cancelled"
    except ActivityError as error:
        return f"{act.name} cancelled" if isinstance(error.cause, CancelledError) else failed(act, error)


async def _run_local(act: Act, *, durable: bool) -> str:
    try:
        return await start_local(local_performer(act, durable=durable), act)
    except ActivityError as error:
        return failed(act, error)


async def _outcome(act: Act, task: asyncio.Task[str]) -> str:
    try:
        return await task
    except asyncio.CancelledError:
        return f"{act.name} cancelled"


async def _race(fast: Act, slow: Act) -> list[str]:
    first, second = asyncio.create_task(_run(fast)), asyncio.create_task(_run(slow))
    done, _ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    if second in done:
        return ["the wrong one won"]
    second.cancel()
    return [await first, await _outcome(slow, second)]


async def _until(act: Act, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            return await _run(act)
    except TimeoutError:
        return f"{act.name} late"
