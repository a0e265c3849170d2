"""Runs a program as an `async def` workflow, with asyncio's own tools where they exist."""

from __future__ import annotations

import asyncio

from perdure.sdk.errors import ActivityError, ApplicationError, CancelledError
from perdure.sdk.local_calls import start_local
from perdure.sdk.workflow import start, workflow
from tests.simulation.activities import failed, local_performer, performer
from tests.simulation.programs import DAY, Abort, Act, All, Deadline, Do, Draw, Local, Nap, Program, Race, Step
from tests.simulation.sync_workflow import draw


@workflow(name="simulated_async")
async def simulated_async(program: Program) -> list[str]:
    """The result says what every step came to."""
    results: list[str] = []
    for position, step in enumerate(program.steps):
        results += await _take(step, position)
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
