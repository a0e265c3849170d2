"""Carries out schedules: the law is `perdure.core.schedule`, the state a record of the store.

    RecordWaker --due--> advance --stored--> start, cancel, terminate --stored--> running
    a commit that closes a run --> look how its chain ended --stored--> what waited for it starts

Every change is a compare-and-set on the record; what it asks for is done after it is durable, and what came of that
is stored in turn. A start carries a request id made of the schedule and the start's number, so that doing it again,
after a crash or beside another engine, finds the run that it began. Runs are followed by looking when they end, not
by asking now and then: a schedule whose workflow sleeps for a month costs an entry in a dictionary.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import msgspec
from temporalio.api.errordetails.v1 import NotFoundFailure, WorkflowExecutionAlreadyStartedFailure

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import RequestCancel, StartWorkflow, Terminate
from perdure.core.commit import Commit, ExecutionKey, Started
from perdure.core.execution import Execution
from perdure.core.schedule import requests, state
from perdure.core.schedule.machine import Machine
from perdure.core.schedule.state import Running, Start
from perdure.engine.clock import Clock
from perdure.engine.config import EngineConfig
from perdure.engine.faults import as_rejected
from perdure.engine.histories import Histories
from perdure.engine.matching import Submit
from perdure.engine.metrics import Metrics
from perdure.engine.namespaces import Namespaces
from perdure.engine.record_waker import RecordWaker
from perdure.engine.service import Signal
from perdure.engine.zones import find_zone
from perdure.stores.api import Outcome, Record, RecordChange, Store, StoreError, Unstorable

_log = logging.getLogger(__name__)

KIND = "schedule"
_PASSING = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL)
"""It may work a moment later."""

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
Read = Callable[[str, str, str | None, Callable[[Execution | None], Any]], "asyncio.Future[Any]"]


class Key(NamedTuple):
    """Names a schedule."""

    namespace: str
    schedule_id: str


class _End(msgspec.Struct, frozen=True):
    """Where a run stands that has closed."""

    key: ExecutionKey
    status: int
    last_event_id: int


class Schedules:
    """See the module's text. `settled` is emitted when what a change of a schedule asked for was done."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: EngineConfig,
        metrics: Metrics,
        namespaces: Namespaces,
        histories: Histories,
        waker: RecordWaker,
        submit: Submit,
        read: Read,
    ) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._page = config.record_page
        self._tries_max = config.conflict_tries_max
        self._retry_s = config.store_retry_ns / 1e9
        self._metrics = metrics
        self._namespaces = namespaces
        self._histories = histories
        self._waker = waker
        self._submit = submit
        self._read = read
        self.watched: dict[str, Key] = {}
        """Runs whose end a schedule waits for, by run id."""
        self._carrying: dict[Key, bool] = {}
        """Schedules that a task acts for now, and whether there may be more for it to do."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self.settled = Signal()
        waker.register(KIND, self._wake)

    # --- life cycle -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what an engine before this one left: starts to carry out, runs to follow. Raises StoreError."""
        self._is_open = True
        after = Key("", "")
        while True:
            page = await self._store.records(KIND, None, after.schedule_id, self._page, after.namespace)
            for record in page:
                self._resume(record)
            if len(page) < self._page:
                return
            after = Key(page[-1].namespace, page[-1].name)

    async def stop(self) -> None:
        """Leave everything where it stands: the records say how to go on."""
        self._is_open = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.watched.clear()

    @property
    def is_busy(self) -> bool:
        """Whether something is being carried out, or looked at."""
        return bool(self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if not self._is_open:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _resume(self, record: Record) -> None:
        """After a restart. Most schedules only wait, and cost no more than a look."""
        stored = state.decode(record.data)
        if not self._namespaces.is_usable(record.namespace) or not (stored.running or stored.starting):
            return
        key = Key(record.namespace, record.name)
        self._follow_up(key, self._machine(record))
        for run in stored.running:
            self._watch(key, run.workflow_id, run.current_run_id)

    # --- records --------------------------------------------------------------------------------

    def machine(self, key: Key, data: bytes) -> Machine:
        """The law of a stored schedule. Raises Rejected NOT_FOUND when its namespace is gone."""
        namespace_id = self._namespaces.get(key.namespace).id
        return Machine(state.decode(data), find_zone, f"{namespace_id}-{key.schedule_id}".encode())

    def _machine(self, record: Record) -> Machine:
        return self.machine(Key(record.namespace, record.name), record.data)

    async def get(self, key: Key) -> Machine:
        """The schedule as it is stored. Raises Rejected NOT_FOUND, UNAVAILABLE."""
        return self._machine(await self._record(key))

    async def _record(self, key: Key) -> Record:
        record = await self._stored(self._store.record(KIND, *key))
        if record is None:
            raise Rejected(StatusCode.NOT_FOUND, f"schedule {key.schedule_id!r} not found", NotFoundFailure())
        return record

    async def page(self, namespace: str, after_id: str, limit: int) -> Sequence[tuple[str, Machine]]:
        """Schedules of a namespace in order of their ids, past `after_id`. Raises Rejected UNAVAILABLE."""
        records = await self._stored(self._store.records(KIND, namespace, after_id, limit))
        return [(record.name, self._machine(record)) for record in records]

    async def create(self, key: Key, machine: Machine) -> Machine:
        """Store a new schedule, and do what it asks for; returns the one there is if this was asked before.

        Raises Rejected ALREADY_EXISTS when there is another one of that id, UNAVAILABLE.
        """
        if not await self._put(key, 0, machine):
            existing = await self.get(key)
            if existing.state.request_id != machine.state.request_id:
                raise Rejected(
                    StatusCode.ALREADY_EXISTS,
                    f'schedule "{key.schedule_id}" is already registered',
                    WorkflowExecutionAlreadyStartedFailure(),
                )
            return existing
        self._follow_up(key, machine)
        return machine

    async def change(
        self,
        key: Key,
        act: Callable[Concatenate[Machine, int, Arguments], Result],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """Have `act(machine, now_ns, ...)` change a schedule, store it, and do what it asks for from then on.

        Raises Rejected NOT_FOUND, UNAVAILABLE, and whatever `act` raises; then nothing was changed.
        """
        for _ in range(self._tries_max):
            record = await self._record(key)
            machine = self._machine(record)
            result = act(machine, self._now_ns(), *arguments, **named)
            if await self._put(key, record.version, machine, record):
                self._follow_up(key, machine)
                return result
        raise Rejected(StatusCode.UNAVAILABLE, f"Schedule {key.schedule_id!r} is being changed too often: try again.")

    async def delete(self, key: Key) -> None:
        """Forget a schedule; what it started goes on. Raises Rejected NOT_FOUND, UNAVAILABLE."""
        for _ in range(self._tries_max):
            record = await self._record(key)
            gone = RecordChange(KIND, key.namespace, key.schedule_id, record.version, None)
            [outcome] = await self._stored(self._store.put_records([gone]))
            if outcome is Outcome.APPLIED:
                return
        raise Rejected(StatusCode.UNAVAILABLE, f"Schedule {key.schedule_id!r} is being changed too often: try again.")

    async def _put(self, key: Key, version: int, machine: Machine, stored: Record | None = None) -> bool:
        """False when somebody else was quicker."""
        data, wake_at_ns = state.encode(machine.state), machine.wake_at_ns(self._now_ns())
        if stored is None or data != stored.data or wake_at_ns != stored.wake_at_ns:
            change = RecordChange(KIND, key.namespace, key.schedule_id, version, data, wake_at_ns)
            [outcome] = await self._stored(self._store.put_records([change]))
            if isinstance(outcome, Unstorable):
                raise as_rejected(outcome)
            if outcome is not Outcome.APPLIED:
                return False
        if wake_at_ns is not None:
            self._waker.lower(wake_at_ns)
        return True

    async def _stored(self, reading: Awaitable[Result]) -> Result:
        try:
            return await reading
        except StoreError as error:
            self._metrics.store_errors += 1
            raise Rejected(StatusCode.UNAVAILABLE, str(error)) from error

    # --- time -----------------------------------------------------------------------------------

    async def _wake(self, record: Record) -> None:
        """The record's time has come."""
        try:
            await self.change(Key(record.namespace, record.name), _advance)
        except Rejected as refusal:
            if refusal.code is not StatusCode.NOT_FOUND:
                raise

    async def _persist(
        self,
        key: Key,
        act: Callable[Concatenate[Machine, int, Arguments], None],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> None:
        """As `change`, for ourselves: until the store takes it, or the schedule is gone."""
        while True:
            try:
                await self.change(key, act, *arguments, **named)
                return
            except Rejected as refusal:
                if refusal.code is StatusCode.NOT_FOUND:
                    return
                _log.warning("schedule %r cannot be stored, trying again: %s", key.schedule_id, refusal)
            await asyncio.sleep(self._retry_s)

    # --- carrying out ---------------------------------------------------------------------------

    def _follow_up(self, key: Key, machine: Machine) -> None:
        """Durable: do what it asks for. One task at a time does so for a schedule."""
        if not machine.state.starting and not machine.to_stop()[0]:
            return
        if key in self._carrying:
            self._carrying[key] = True
        elif self._is_open:
            self._carrying[key] = True
            self._spawn(self._carry_out(key))

    async def _carry_out(self, key: Key) -> None:
        """Start and stop, until nothing more is asked for."""
        stopped: set[tuple[str, bool]] = set()
        try:
            while self._carrying[key]:
                self._carrying[key] = False
                machine = await self.get(key)
                if not await self._act(key, machine, stopped):
                    self._carrying[key] = True
                    await asyncio.sleep(self._retry_s)
        except Rejected as refusal:
            if refusal.code is not StatusCode.NOT_FOUND:  # its deadline, ten seconds away, begins again
                _log.warning("schedule %r waits: %s", key.schedule_id, refusal)
        finally:
            del self._carrying[key]
            self.settled.emit()

    async def _act(self, key: Key, machine: Machine, stopped: set[tuple[str, bool]]) -> bool:
        """Do what the state asks for now; False: not all of it could be done."""
        outcomes = await asyncio.gather(*[self._start(key, machine, start) for start in machine.state.starting])
        made = [outcome for outcome in outcomes if outcome is not None]
        if made:
            await self._persist(key, _settle_starts, made)
            for outcome in made:
                if outcome.run_id:
                    self._watch(key, outcome.workflow_id, outcome.run_id)
        runs, force = machine.to_stop()
        for run in runs:
            if (run.run_id, force) not in stopped and await self._stop_run(key, run, force):
                stopped.add((run.run_id, force))
        return len(made) == len(outcomes) and all((run.run_id, force) in stopped for run in runs)

    async def _start(self, key: Key, machine: Machine, start: Start) -> _Made | None:
        """None: not now."""
        request = requests.start_request(*key, machine.state, machine.schedule, start)
        workflow_id = request.workflow_id
        try:
            started: Started = await self._submit(key.namespace, workflow_id, None, StartWorkflow(request))
        except Rejected as refusal:
            if refusal.code in _PASSING:
                return None
            run_id = await self._own_run(key, workflow_id, request.request_id, refusal)
            if not run_id:
                _log.warning("schedule %r: %r was not started: %s", key.schedule_id, workflow_id, refusal)
            return _Made(start.number, workflow_id, run_id)
        return _Made(start.number, workflow_id, started.first_run_id or started.run_id)

    async def _own_run(self, key: Key, workflow_id: str, request_id: str, refusal: Rejected) -> str:
        """The run in the way, if it is the very one: begun before a crash, and continued as new since."""
        detail = refusal.detail
        if not isinstance(detail, WorkflowExecutionAlreadyStartedFailure):
            return ""
        first_run_id = detail.first_execution_run_id

        def look(execution: Execution | None) -> bool:
            return execution is not None and execution.facts.request_id == request_id

        return first_run_id if await self._read(key.namespace, workflow_id, first_run_id, look) else ""

    async def _stop_run(self, key: Key, run: Running, force: bool) -> bool:
        """Terminate or cancel the run; False: not now."""
        if force:
            command = Terminate(requests.terminate_request(*key, run))
        else:
            command = RequestCancel(requests.cancel_request(*key, run))
        try:
            await self._submit(key.namespace, run.workflow_id, None, command)
        except Rejected as refusal:
            return refusal.code not in _PASSING  # NOT_FOUND: it has ended, and that will be noticed
        return True

    # --- the end of runs ------------------------------------------------------------------------

    def _watch(self, key: Key, workflow_id: str, run_id: str) -> None:
        """See to it that the run's end is noticed, also if it has ended already."""
        if self._is_open:
            self.watched[run_id] = key
            self._spawn(self._look(key, workflow_id, run_id))

    def notify(self, commit: Commit) -> None:
        """Durable: perhaps a run that somebody waits for has closed."""
        run_id = commit.key.run_id
        key = self.watched.get(run_id)
        if key is not None and commit.execution is not None and commit.execution.closed_at_ns is not None:
            self._spawn(self._look(key, commit.key.workflow_id, run_id))

    async def _look(self, key: Key, workflow_id: str, run_id: str) -> None:
        """If the run has closed, tell the schedule, or follow the chain."""
        while True:
            try:
                end = await self._read(key.namespace, workflow_id, run_id, _look_at)
                if isinstance(end, _End):
                    event = await self._histories.event(end.key, end.last_event_id)
                    break
                if end:
                    return
                self.watched.pop(run_id, None)
                await self._persist(key, _ended, run_id, 0, b"", b"", "")
                return
            except Rejected as refusal:
                _log.warning("the end of %r cannot be read, trying again: %s", workflow_id, refusal)
            await asyncio.sleep(self._retry_s)
        if self.watched.pop(run_id, None) is None:
            return
        next_run_id = requests.next_run_id(event)
        if next_run_id:
            await self._persist(key, _continued, run_id, next_run_id)
            self._watch(key, workflow_id, next_run_id)
        else:
            await self._persist(key, _ended, run_id, end.status, *requests.outcome(event))


class _Made(NamedTuple):
    """What became of a start. No run: it cannot be made."""

    number: int
    workflow_id: str
    run_id: str


def _advance(machine: Machine, now_ns: int) -> None:
    machine.advance(now_ns)


def _settle_starts(machine: Machine, now_ns: int, made: Sequence[_Made]) -> None:
    for number, workflow_id, run_id in made:
        if run_id:
            machine.started(number, workflow_id, run_id, now_ns)
        else:
            machine.refused(number)
    machine.advance(now_ns)


def _look_at(execution: Execution | None) -> _End | bool:
    """Its end; True: it is open, False: it is gone."""
    if execution is None or execution.closed_at_ns is None:
        return execution is not None
    return _End(execution.key, execution.status, execution.next_event_id - 1)


def _continued(machine: Machine, now_ns: int, run_id: str, next_run_id: str) -> None:
    for run in machine.state.running:
        if run.current_run_id == run_id:
            machine.continued(run, next_run_id)


def _ended(
    machine: Machine, now_ns: int, run_id: str, status: int, result: bytes, failure: bytes, message: str
) -> None:
    for run in list(machine.state.running):
        if run.current_run_id == run_id:
            machine.ended(run.run_id, status, result, failure, message)
    machine.advance(now_ns)
