"""One life of the engine and of everything that lives with it in its process.

It is the engine that users open, with other parts in a few seams: virtual time, seeded ids, a store
that dies, and workflow code and `def` activities run inline instead of in threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from perdure import (
    AsyncEngine,
    UpdateFailedError,
    WorkerConfig,
    WorkflowFailedError,
    WorkflowHandle,
    WorkflowNotFoundError,
)
from perdure.embedded import EngineSeams
from perdure.engine.node.config import EngineConfig
from perdure.errors import EngineClosedError
from perdure.sdk.declare.definitions import WorkflowDefinition
from perdure.stores.api import Store
from perdure.testing import VirtualClock, VirtualTimeLoop
from tests.simulation.activities import perform, perform_def
from tests.simulation.async_workflow import simulated_async
from tests.simulation.order import ORDER_ACTIVITIES, fulfill_order
from tests.simulation.post import ear, kid
from tests.simulation.programs import DAY, Letter, Program
from tests.simulation.relay import SIGNALS, simulated_relay
from tests.simulation.sync_workflow import simulated_def
from tests.simulation.world import stage

WORKFLOW_ID = "program"
SECOND_NS = 1_000_000_000
CANCEL_AT_S = 200 * DAY
"""When the client asks for cancellation: every program that expects it naps by then."""

CENTURY_NS = 100 * 365 * 86400 * SECOND_NS
ENGINE_CONFIG = EngineConfig(
    workers_died=True,
    long_poll_ns=CENTURY_NS,
    wake_recheck_ns=CENTURY_NS,
    history_wait_ns=CENTURY_NS,
    update_wait_ns=CENTURY_NS,
)
"""Polls wait as long as it takes: virtual months should not be spent on polling again every minute."""

WORKER_CONFIG = WorkerConfig(workflow_slots=3, activity_slots=4, workflow_polls=3, activity_polls=4)
WORKFLOWS: dict[str, WorkflowDefinition[Any, Any]] = {
    "def": simulated_def,
    "async": simulated_async,
    "order": fulfill_order,
    "relay": simulated_relay,
}


def open_engine(store: Store, new_id: Callable[[], str], loop: VirtualTimeLoop) -> AsyncEngine:
    """An engine of this life, still to be opened."""
    seams = EngineSeams(
        store=store,
        clock=VirtualClock(loop),
        new_id=new_id,
        engine_config=ENGINE_CONFIG,
        worker_config=WORKER_CONFIG,
        inline=True,
        instance_key=f"life-{loop.now_ns}",
    )
    activities: list[Any] = [perform, perform_def, *ORDER_ACTIVITIES]
    return AsyncEngine(
        "memory://",
        workflows=[*WORKFLOWS.values(), kid, ear],
        activities=activities,
        identity="simulated",
        seams=seams,
    )


async def live(program: Program, engine: AsyncEngine, loop: VirtualTimeLoop) -> str:
    """Start the program, or find it started, and wait for its end; its outcome as text."""
    # Not `async with`: what is dropped in a crash must not close anything on its way out.
    await engine.open()
    handle = await _begin(program, engine)
    for letter in program.letters:
        send = partial(_send, engine, letter)
        loop.call_at(max(letter.at, loop.time()), lambda send=send: loop.create_task(send()))
    if program.cancelled:
        loop.call_at(CANCEL_AT_S, lambda: loop.create_task(_cancel(engine)))
    if program.colour == "relay":
        await _tell(engine)
    try:
        outcome = f"COMPLETED {await handle.result()}"
    except WorkflowFailedError as error:
        outcome = f"FAILED {error.cause}"
    await engine.close()
    return outcome


async def _tell(engine: AsyncEngine) -> None:
    """A client that does not know what of it was heard in an earlier life, and says it again."""
    for number in range(SIGNALS):
        try:
            await engine.signal(WORKFLOW_ID, "number", number, request_id=f"signal-{number}")
        except WorkflowNotFoundError:
            return  # it has ended: it has heard them all


async def _begin(program: Program, engine: AsyncEngine) -> WorkflowHandle[list[str]]:
    definition = WORKFLOWS[program.colour]
    if not program.begun_by_signal:
        return await engine.start(definition, program, id=WORKFLOW_ID)
    first = program.letters[0]
    signal = ("tell", [first.number])
    return await engine.signal_with_start(
        definition, program, id=WORKFLOW_ID, signal=signal, request_id=f"letter {first.number}"
    )


async def _send(engine: AsyncEngine, letter: Letter) -> None:
    """Every life sends every letter again: whoever has it, knows it by its id."""
    letter_id = f"letter {letter.number}"
    try:
        if letter.kind == "signal":
            await engine.signal(WORKFLOW_ID, "tell", letter.number, request_id=letter_id)
            return
        welcome = letter.kind == "update"
        await engine.update(WORKFLOW_ID, "ask", letter.number, welcome, update_id=letter_id)
        if not welcome:
            stage.world.complaints.append(f"{letter} was accepted")
    except UpdateFailedError as error:
        if letter.kind != "rejected" or "is not welcome" not in str(error):
            stage.world.complaints.append(f"{letter}: {error}")
    except EngineClosedError:
        return  # the program has ended: whatever it waited for was there
    except WorkflowNotFoundError:
        if letter.kind == "signal":
            stage.world.complaints.append(f"nobody took {letter}")
        # else it has ended, in an earlier life that had its answer or in which it was rejected


async def _cancel(engine: AsyncEngine) -> None:
    try:
        await engine.cancel(WORKFLOW_ID)
    except WorkflowNotFoundError:
        return  # it has ended, in an earlier life that did not live to say so
