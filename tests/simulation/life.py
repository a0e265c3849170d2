"""The engine of a node, and the client that wants something of it.

It is the engine that users open, with other parts in a few seams: virtual time, seeded ids, a store
that dies, and workflow code and `def` activities run inline instead of in threads.

The client goes to any node that lives. When one dies it does not know what that node had still heard: it asks another
one for the same, and sends every letter again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from temporalio.api.workflowservice import v1 as service

from perdure import (
    AsyncEngine,
    UpdateFailedError,
    WorkerConfig,
    WorkflowFailedError,
    WorkflowNotFoundError,
)
from perdure.api.errors import Rejected, StatusCode
from perdure.embedded import EngineSeams, seamed
from perdure.engine.node.config import EngineConfig, NodeConfig
from perdure.errors import EngineError
from perdure.frontend import WorkflowService
from perdure.frontend.near import Near
from perdure.sdk.declare.definitions import WorkflowDefinition
from perdure.stores.api import Store
from perdure.testing import VirtualClock
from tests.simulation.activities import perform, perform_def
from tests.simulation.async_workflow import simulated_async
from tests.simulation.loops import Machine
from tests.simulation.order import ORDER_ACTIVITIES, fulfill_order
from tests.simulation.post import ear, kid
from tests.simulation.programs import DAY, Letter, Program, Told
from tests.simulation.relay import SIGNALS, simulated_relay
from tests.simulation.sync_workflow import simulated_def
from tests.simulation.world import stage

R = TypeVar("R")

WORKFLOW_ID = "program"
SECOND_NS = 1_000_000_000
EPOCH_NS = 1_700_000_000 * SECOND_NS
CANCEL_AT_S = 200 * DAY
"""When the client asks for cancellation: every program that expects it naps by then."""

CENTURY_NS = 100 * 365 * 86400 * SECOND_NS
ENGINE_CONFIG = EngineConfig(
    long_poll_ns=CENTURY_NS,
    wake_recheck_ns=CENTURY_NS,
    history_wait_ns=CENTURY_NS,
    update_wait_ns=CENTURY_NS,
    kept_ns=SECOND_NS // 20,
)
"""Polls wait as long as it takes: virtual months should not be spent on polling again every minute. Steps are made one
commit (ADR 0028)."""
NODE_CONFIG = NodeConfig(skew_max_ns=60 * SECOND_NS)
"""The clocks of these fleets are wrong, and their nodes start all the same."""

WORKER_CONFIG = WorkerConfig(workflow_slots=3, activity_slots=4, workflow_polls=3, activity_polls=4)
WORKFLOWS: dict[str, WorkflowDefinition[Any, Any]] = {
    "def": simulated_def,
    "async": simulated_async,
    "order": fulfill_order,
    "relay": simulated_relay,
}


def make_engine(
    store: Store, number: int, ids: Callable[[], str], machine: Machine, skew_ns: int, *, alone: bool, works: bool
) -> AsyncEngine:
    """An engine for a node, still to be opened.

    Args:
        number: of the node.
        skew_ns: how much its clock is ahead.
        alone: whether it is the only node of its fleet.
        works: whether it runs workflows and activities, or only serves clients.
    """
    config = replace(ENGINE_CONFIG, workers_died=alone or works, node=None if alone else NODE_CONFIG)
    seams = EngineSeams(
        store=store,
        clock=VirtualClock(machine, EPOCH_NS + skew_ns),
        new_id=ids,
        engine_config=config,
        worker_config=WORKER_CONFIG,
        inline=True,
        instance_key=f"node-{number}-{machine.now_ns}",
    )
    activities: list[Any] = [perform, perform_def, *ORDER_ACTIVITIES]
    return seamed(
        AsyncEngine,
        seams,
        "memory://",
        workflows=[*WORKFLOWS.values(), kid, ear],
        activities=activities,
        identity=f"node-{number}",
        worker=works,
    )


QUERY_AT_S = 0.12
"""The client looks how far the workflow is."""
PASSING = ("DEADLINE_EXCEEDED", "FAILED_PRECONDITION")
"""Who was to answer has died; or the workflow's own task did, and its next attempt is not over."""
ENDED = ("execution already completed", "aborted by closing workflow")
"""What an update is told behind the end of its workflow."""
TRIES_MAX = 5
"""Nobody is asked more often for one answer."""


SHOP = "shop"
"""A namespace that clients register while the fleet runs."""
REGISTER_AT_S = 0.2
KNOWN_TRIES = 6
"""Every node knows of it by then; one that stood still meanwhile is asked so often, a few seconds apart."""


class Service(Protocol):
    """What a client finds behind one name: some node that lives."""

    async def ask(self, request: Callable[[AsyncEngine], Coroutine[Any, Any, R]]) -> R:
        """Have any node answer, and another one when it died meanwhile."""
        ...


class Client:
    """See the module's text. It lives on a machine of its own, and outlives all nodes."""

    def __init__(self, program: Program, service: Service, machine: Machine, *, moves: bool) -> None:
        self._program = program
        self._is_curious = program.colour in ("def", "async")
        self._moves = moves
        self._service = service
        self._machine = machine
        self._has_begun = False
        self._sending: set[asyncio.Task[None]] = set()

    async def live(self) -> str:
        """Start the program, or find it started, and wait for its end; its outcome as text."""
        await self._service.ask(partial(_begin, self._program))
        self._has_begun = True
        self.repeat()
        moving = self._machine.create_task(self._move()) if self._moves else None
        try:
            outcome = f"COMPLETED {await self._service.ask(_result)}"
        except WorkflowFailedError as error:
            outcome = f"FAILED {error.cause}"
        if self._is_curious:
            await self._look()
        if moving is not None:
            await moving
        return outcome

    async def _move(self) -> None:
        """A namespace that one node registers is soon known to whichever node is asked."""
        await asyncio.sleep(REGISTER_AT_S)
        await self._service.ask(_register)
        for number in range(4):
            await asyncio.sleep(5.0)
            await self._service.ask(partial(_visit, number))

    async def _look(self) -> None:
        """A closed workflow tells what it knows, whichever node is asked, and whoever has to run its code for that."""
        wanted = {number for step in self._program.steps if isinstance(step, Told) for number in step.numbers}
        told = await self._service.ask(_query)
        if told is None or not wanted <= set(told):
            stage.world.complaints.append(f"it was told {wanted}, and says {told}")

    def repeat(self) -> None:
        """Send every letter, each when its time has come, or now."""
        if not self._has_begun:
            return
        for letter in self._program.letters:
            self._send_at(letter.at, partial(_send, letter))
        if self._program.cancelled:
            self._send_at(CANCEL_AT_S, _cancel)
        if self._program.colour == "relay":
            self._send_at(0.0, _tell)
        if self._is_curious:
            self._send_at(QUERY_AT_S, _query)

    def _send_at(self, at_s: float, request: Callable[[AsyncEngine], Coroutine[Any, Any, Any]]) -> None:
        def send() -> None:
            task = self._machine.create_task(self._service.ask(request))
            self._sending.add(task)
            task.add_done_callback(self._sent)

        self._machine.call_at(max(at_s, self._machine.time()), send)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        error = task.exception()
        if error is not None:
            stage.world.complaints.append(f"a letter met {error!r}")


async def _begin(program: Program, engine: AsyncEngine) -> None:
    definition = WORKFLOWS[program.colour]
    if not program.begun_by_signal:
        await engine.start(definition, program, id=WORKFLOW_ID)
        return
    first = program.letters[0]
    await engine.start(
        definition,
        program,
        id=WORKFLOW_ID,
        start_signal="tell",
        start_signal_args=[first.number],
        request_id=f"letter {first.number}",
    )


async def _result(engine: AsyncEngine) -> list[Any]:
    return await engine.get(WORKFLOW_ID, result_type=list[Any]).result()


async def _tell(engine: AsyncEngine) -> None:
    """A client that does not know what of it was heard before, and says it again."""
    for number in range(SIGNALS):
        try:
            await engine.get(WORKFLOW_ID).signal("number", number, request_id=f"signal-{number}")
        except WorkflowNotFoundError:
            return  # it has ended: it has heard them all


async def _send(letter: Letter, engine: AsyncEngine) -> None:
    """Whoever has the letter, knows it by its id."""
    letter_id = f"letter {letter.number}"
    try:
        if letter.kind == "signal":
            await engine.get(WORKFLOW_ID).signal("tell", letter.number, request_id=letter_id)
            return
        welcome = letter.kind == "update"
        await engine.get(WORKFLOW_ID).update("ask", letter.number, welcome, update_id=letter_id)
        if not welcome:
            stage.world.complaints.append(f"{letter} was accepted")
    except UpdateFailedError as error:
        if letter.kind != "rejected" or "is not welcome" not in str(error):
            stage.world.complaints.append(f"{letter}: {error}")
    except WorkflowNotFoundError as error:
        # The workflow has ended, with the answer to an update, or without one that was owed.
        if letter.kind == "signal" or not any(end in str(error) for end in ENDED):
            stage.world.complaints.append(f"nobody took {letter}: {error}")


async def _query(engine: AsyncEngine) -> list[int] | None:
    """What the workflow was told. Who was to answer may have died: then it is asked again. None: nobody answers."""
    for _ in range(TRIES_MAX):
        try:
            return await engine.get(WORKFLOW_ID).query("told", returns=list[int])
        except EngineError as error:
            if not any(code in str(error) for code in PASSING):
                raise
        await asyncio.sleep(15.0)
    return None


async def _register(engine: AsyncEngine) -> None:
    request = service.RegisterNamespaceRequest(namespace=SHOP)
    request.workflow_execution_retention_period.seconds = round(1000 * DAY)
    try:
        await _front(engine).register_namespace(request)
    except Rejected as error:
        if error.code is not StatusCode.ALREADY_EXISTS:  # whoever did it did not live to say so
            raise


async def _visit(number: int, engine: AsyncEngine) -> None:
    """Start a workflow there, which nobody will run."""
    request = service.StartWorkflowExecutionRequest(
        namespace=SHOP, workflow_id=f"visit-{number}", request_id=f"visit-{number}"
    )
    request.workflow_type.name = request.task_queue.name = "nobody"
    for _ in range(KNOWN_TRIES):
        try:
            await _front(engine).start_workflow_execution(request)
            return
        except Rejected as error:
            if error.code is not StatusCode.NOT_FOUND:
                raise
        await asyncio.sleep(5.0)
    stage.world.complaints.append(f"a node does not know the namespace {SHOP}")


def _front(engine: AsyncEngine) -> WorkflowService:
    home = engine._home
    assert isinstance(home, Near)
    return WorkflowService(home.engine)


async def _cancel(engine: AsyncEngine) -> None:
    try:
        await engine.get(WORKFLOW_ID).cancel()
    except WorkflowNotFoundError:
        return  # it has ended, and whoever was told so before did not live to say so
