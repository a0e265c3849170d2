"""Requests that callers have written in transactions of their own: done once those are committed, and then taken away.

A caller's transaction may take long, and may be rolled back. So what it writes is not the run, which others would then
wait for, but the request: a record, which nobody sees before the transaction is committed. The node that looks after
its partition is told by a notice of that transaction, or finds it when it looks. It does what the request asks for, as
a command that takes the record away in the commit that it makes (`core.commands.Take`). So a request is done once,
however many nodes find it, and whenever one dies.

Requests of one workflow are done in the order in which they were made, by the clocks of those who made them, but a
start before all else. One that the law refuses stays as a record with the reason for as long as its namespace keeps
executions, and the log says so: who made it was told long ago that it is committed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

import msgspec
from temporalio.api.workflowservice.v1 import (
    SignalWithStartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)

from perdure.api.enlistment import Enlistment, Standing
from perdure.api.errors import Rejected, StatusCode
from perdure.core import commands
from perdure.core.names import RecordRef
from perdure.core.replies import Taken
from perdure.engine.duties.record_waker import RecordWaker
from perdure.engine.namespaces import Namespaces
from perdure.engine.node.clock import Clock
from perdure.engine.node.faults import is_passing
from perdure.engine.records.records import Records
from perdure.engine.submission import Submit
from perdure.stores.api import Damaged, Record, RecordChange, Store

_log = logging.getLogger(__name__)

KIND = "request"
CHANNEL = "requests"
_PAGE = 100
"""Requests of one workflow that are looked at together."""

AnyRequest = StartWorkflowExecutionRequest | SignalWorkflowExecutionRequest | SignalWithStartWorkflowExecutionRequest

AnyCommand = commands.StartWorkflow | commands.Signal | commands.SignalWithStart


class Start(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Start a workflow."""

    request: bytes
    refusal: str = ""


class Signal(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Signal one."""

    request: bytes
    refusal: str = ""


class SignalWithStart(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Signal one that is started if it is not there."""

    request: bytes
    refusal: str = ""


Asked = Start | Signal | SignalWithStart
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Asked).decode


class Requests:
    """See the module's text."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        records: Records,
        namespaces: Namespaces,
        waker: RecordWaker,
        submit: Submit,
    ) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._records = records
        self._namespaces = namespaces
        self._waker = waker
        self._submit = submit
        self._number = 0
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        waker.register(KIND, self._wake, self._park)

    async def start(self) -> None:
        """Hear of requests as soon as they are committed. Raises StoreError."""
        if self._store.enlisting is not None:
            await self._store.listen(CHANNEL, self._hear)

    def _hear(self, notice: bytes | None) -> None:
        if notice is None:
            self._waker.gap()
        else:
            self._waker.told(int.from_bytes(notice), self._now_ns())

    # --- what is asked --------------------------------------------------------------------------

    async def enlist(self, request: AnyRequest) -> Enlistment:
        """The statement that writes a request. Raises Rejected UNIMPLEMENTED, UNAVAILABLE."""
        enlisting = self._store.enlisting
        if enlisting is None:
            raise Rejected(
                StatusCode.UNIMPLEMENTED,
                "This store cannot take part in a transaction of yours: connection=... needs an engine in this process "
                "on PostgreSQL, Engine('postgresql://...'). Elsewhere start the workflow when your transaction is "
                "committed, under an id that makes it safe to do so again; or write your rows in a transactional "
                "activity.",
            )
        asked, workflow_id = _asked(request)
        self._number += 1
        name = f"{_beginning(workflow_id)}{self._now_ns():020d} {self._number:06d} {request.request_id}"
        change = RecordChange(KIND, request.namespace, name, 0, _encode(asked), self._now_ns())
        return await self._records.stored(enlisting.enlist(change, CHANNEL))

    async def standing(self, namespace: str, name: str, transaction: str) -> tuple[Standing, str]:
        """What has become of a request, and why it was refused if it was. Raises Rejected UNAVAILABLE."""
        enlisting = self._store.enlisting
        assert enlisting is not None, "it wrote the request"
        committed = await self._records.stored(enlisting.is_committed(transaction))
        if committed is None:
            return Standing.UNCOMMITTED, ""
        if not committed:
            return Standing.ROLLED_BACK, ""
        record = await self._records.get(KIND, namespace, name)
        if record is None:
            return Standing.GONE, ""
        refusal = record.damage or _decode(record.data).refusal
        return (Standing.REFUSED, refusal) if refusal else (Standing.PENDING, "")

    # --- doing it -------------------------------------------------------------------------------

    async def _wake(self, record: Record) -> None:
        """Do it, and before it what was asked of the same workflow before."""
        asked = _read(record)
        if asked.refusal:  # it was kept long enough
            await self._records.put(record.change(None))
            return
        _, workflow_id, _ = _command(asked)
        workflow = (record.namespace, workflow_id)
        turn = self._turns.get(workflow)
        if turn is None:
            turn = self._turns[workflow] = asyncio.Lock()
        async with turn:
            page = await self._records.stored(
                self._store.records(KIND, record.namespace, _beginning(workflow_id), _PAGE)
            )
            waiting = [(one, its) for one, its in ((one, _read(one)) for one in page) if not its.refusal]
            for one, its in sorted(waiting, key=lambda pair: isinstance(pair[1], Signal)):
                command, its_workflow_id, run_id = _command(its)
                if its_workflow_id != workflow_id:  # of one whose id comes behind
                    continue
                await self._do(one, command, workflow_id, run_id)
                if one.name == record.name:
                    return

    async def _do(self, record: Record, command: AnyCommand, workflow_id: str, run_id: str | None) -> None:
        """Raises Rejected, what may pass."""
        take = commands.Take(command, RecordRef(KIND, record.namespace, record.name, record.version))
        try:
            taken: Taken = await self._submit(record.namespace, workflow_id, run_id, take)
        except Rejected as refusal:
            if is_passing(refusal) or refusal.code is StatusCode.INTERNAL:
                raise
            await self._refuse(record, command, workflow_id, refusal.message)
            return
        if not taken.is_taken:  # it was done before, or there was nothing to do
            await self._records.put(record.change(None))

    async def _refuse(self, record: Record, command: AnyCommand, workflow_id: str, reason: str) -> None:
        """Keep it for a while, with the reason. Raises Rejected UNAVAILABLE."""
        if await self._records.put(record.change(*self._refused(record.namespace, record.data, reason))):
            text = "%s of workflow %r, which a caller's transaction has committed, cannot be done: %s"
            _log.error(text, type(command).__name__, workflow_id, reason)

    async def _park(self, record: Record, reason: str) -> None:
        """One that meets only faults, likewise. Raises Rejected UNAVAILABLE."""
        mark = partial(self._refused, record.namespace, reason=reason)
        await self._records.park(KIND, record.namespace, record.name, reason, mark)

    def _refused(self, namespace: str, data: bytes, reason: str) -> tuple[bytes, int]:
        """What is kept of a request that cannot be done, and until when."""
        asked = _decode(data)
        kept_until_ns = self._now_ns() + self._namespaces.get(namespace).retention_ns
        return _encode(type(asked)(asked.request, reason)), kept_until_ns


@dataclass(frozen=True, slots=True)
class Listed:
    """A request that is committed and was not done, as it is shown."""

    state: str
    """refused, or waiting."""
    asked_for: str
    """start, signal, or signal with start."""
    namespace: str
    workflow_id: str
    asked_at_ns: int
    """By the clock of the engine that wrote it."""
    refusal: str


async def list_requests(store: Store, limit: int) -> list[Listed]:
    """The requests that are there, of all namespaces, by namespace and workflow id. The store is open.

    Raises StoreError.
    """
    found: list[Listed] = []
    name = namespace = ""
    while len(found) < limit:
        page = await store.records(KIND, after_name=name, after_namespace=namespace, limit=limit - len(found))
        if not page:
            break
        found += map(_listed, page)
        name, namespace = page[-1].name, page[-1].namespace
    return found


def _listed(record: Record) -> Listed:
    if record.damage:
        workflow_id, _, rest = record.name.partition("\0")  # as far as its name tells
        return Listed("refused", "?", record.namespace, workflow_id, _asked_at_ns(rest), record.damage)
    asked = _decode(record.data)
    _, workflow_id, _ = _command(asked)
    asked_at_ns = _asked_at_ns(record.name.removeprefix(_beginning(workflow_id)))
    state = "refused" if asked.refusal else "waiting"
    return Listed(state, _WHAT[type(asked)], record.namespace, workflow_id, asked_at_ns, asked.refusal)


def _asked_at_ns(name: str) -> int:
    """From the end of a request's name, as `Requests.enlist` makes it; 0: it tells none."""
    digits = name.partition(" ")[0]
    return int(digits) if digits.isdecimal() else 0


_WHAT: dict[type[Asked], str] = {Start: "start", Signal: "signal", SignalWithStart: "signal with start"}


def _beginning(workflow_id: str) -> str:
    """How the names of a workflow's requests begin; what follows is in their order."""
    return f"{workflow_id}\0"


def _read(record: Record) -> Asked:
    """Raises Damaged, and msgspec.DecodeError for what is no request."""
    if record.damage:
        raise Damaged(record.damage)
    return _decode(record.data)


def _asked(request: AnyRequest) -> tuple[Asked, str]:
    data = request.SerializeToString()
    if isinstance(request, StartWorkflowExecutionRequest):
        return Start(data), request.workflow_id
    if isinstance(request, SignalWorkflowExecutionRequest):
        return Signal(data), request.workflow_execution.workflow_id
    return SignalWithStart(data), request.workflow_id


def _command(asked: Asked) -> tuple[AnyCommand, str, str | None]:
    """And the workflow, and its run if it says one, that it is for."""
    if isinstance(asked, Start):
        request = StartWorkflowExecutionRequest.FromString(asked.request)
        return commands.StartWorkflow(request), request.workflow_id, None
    if isinstance(asked, Signal):
        request = SignalWorkflowExecutionRequest.FromString(asked.request)
        execution = request.workflow_execution
        return commands.Signal(request), execution.workflow_id, execution.run_id or None
    request = SignalWithStartWorkflowExecutionRequest.FromString(asked.request)
    return commands.SignalWithStart(request), request.workflow_id, None
