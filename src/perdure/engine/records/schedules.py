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
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from temporalio.api.errordetails.v1 import NotFoundFailure, WorkflowExecutionAlreadyStartedFailure
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import RequestCancel, StartWorkflow, Terminate
from perdure.core.execution import Execution
from perdure.core.principal import Principal
from perdure.core.replies import Started
from perdure.core.schedule import requests, state
from perdure.core.schedule.machine import Machine
from perdure.core.schedule.state import Running, Start
from perdure.engine.deciding.histories import Histories
from perdure.engine.duties.duties import Duties
from perdure.engine.duties.record_waker import RecordWaker
from perdure.engine.feed.news import News
from perdure.engine.namespaces import Namespaces
from perdure.engine.node.clock import Clock
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.faults import Faults, Setbacks, is_passing, reason_of
from perdure.engine.node.pace import Pace, Turnstile
from perdure.engine.node.signal import Signal
from perdure.engine.node.zones import find_zone
from perdure.engine.records.endings import UNKNOWN, Read, ending
from perdure.engine.records.front import Front
from perdure.engine.records.records import Records
from perdure.engine.submission import Submit
from perdure.stores.api import Record, RecordChange, Store, StoreError

_log = logging.getLogger(__name__)

KIND = "schedule"
_FAULTS = (StatusCode.INTERNAL, StatusCode.DATA_LOSS, StatusCode.UNKNOWN)
"""The engine's own, not the schedule's: tried some more times before the schedule is parked."""

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
_SETTLING_S = 1.0
"""Whoever looks at a schedule waits at most so long until what it is doing is done."""


class Key(NamedTuple):
    """Names a schedule."""

    namespace: str
    schedule_id: str


class Schedules:
    """See the module's text. `settled` is emitted when what a change of a schedule asked for was done."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: EngineConfig,
        duties: Duties,
        records: Records,
        namespaces: Namespaces,
        histories: Histories,
        waker: RecordWaker,
        submit: Submit,
        read: Read,
        front: Front,
    ) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._page = config.record_page
        self._store_retry_s = config.store_retry_ns / 1e9
        self._faults_max = config.record_faults_max
        self._duties = duties
        self._records = records
        self._namespaces = namespaces
        self._histories = histories
        self._waker = waker
        self._submit = submit
        self._read = read
        self._front = front
        self.watched: dict[str, tuple[Key, str]] = {}
        """Runs whose end a schedule waits for, by run id: the schedule, and the workflow id."""
        self._carrying: dict[Key, _Errand] = {}
        """Schedules that a task acts for now."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._turnstile = Turnstile()
        self._setbacks: Setbacks[Key | str] = Setbacks(
            config.store_retry_ns / 1e9, config.record_retry_max_ns / 1e9, lambda: asyncio.get_running_loop().time()
        )
        """Of schedules, and of runs whose end is looked for (by run id)."""
        self._faults = Faults(_log)
        self._is_open = False
        self.settled = Signal()
        waker.register(KIND, self._wake, self._park_record)
        duties.subscribe(self._take_over)

    # --- life cycle -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what an engine before this one left: starts to carry out, runs to follow. Raises StoreError."""
        self._is_open = True
        await self._take_up()

    def _take_over(self) -> None:
        """Another node has gone, and perhaps left some in the middle."""
        self._spawn(self._take_up_again())

    async def _take_up_again(self) -> None:
        while True:
            try:
                await self._take_up()
                return
            except StoreError as error:
                _log.warning("schedules cannot be taken over, trying again: %s", error)
            await asyncio.sleep(self._store_retry_s)

    async def _take_up(self) -> None:
        """Look at every schedule that is this node's to carry out. Raises StoreError."""
        after = Key("", "")
        while True:
            page = await self._store.records(
                KIND, None, after.schedule_id, self._page, after.namespace, partitions=self._duties.partitions
            )
            for record in page:
                try:
                    self._resume(record)
                except Exception as error:  # one that cannot be read keeps no engine from starting
                    self._faults.tell(error, "schedule %r cannot be taken up", record.name)
                    await self._park(Key(record.namespace, record.name), reason_of(error))
            if not page.more:
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
        key = Key(record.namespace, record.name)
        if key in self._carrying:
            return
        stored = state.decode(record.data) if not record.damage else self._machine(record).state
        if not self._namespaces.is_usable(record.namespace) or stored.parked or not (stored.running or stored.starting):
            return
        self._follow_up(key, self._machine(record), record)
        for run in stored.running:
            self._watch(key, run.workflow_id, run.current_run_id)

    # --- records --------------------------------------------------------------------------------

    def machine(self, key: Key, data: bytes) -> Machine:
        """The law of a stored schedule. Raises Rejected NOT_FOUND when its namespace is gone."""
        namespace_id = self._namespaces.get(key.namespace).id
        return Machine(state.decode(data), find_zone, f"{namespace_id}-{key.schedule_id}".encode())

    def _machine(self, record: Record) -> Machine:
        """Raises Rejected NOT_FOUND, DATA_LOSS."""
        if record.damage:
            raise Rejected(StatusCode.DATA_LOSS, record.damage)
        try:
            return self.machine(Key(record.namespace, record.name), record.data)
        except Rejected:
            raise
        except Exception as error:
            raise Rejected(
                StatusCode.DATA_LOSS, f"Schedule {record.name!r} cannot be read, delete it: {reason_of(error)}"
            ) from error

    def _shown(self, record: Record) -> Machine:
        """As it is, or what stands for one that cannot be read. Raises Rejected NOT_FOUND."""
        try:
            return self._machine(record)
        except Rejected as refusal:
            if refusal.code is not StatusCode.DATA_LOSS:
                raise
            return Machine(state.unreadable(refusal.message), find_zone, b"")

    async def get(self, key: Key) -> Machine:
        """The schedule as it is stored. Raises Rejected NOT_FOUND, UNAVAILABLE, DATA_LOSS."""
        return self._machine(await self._record(key))

    async def shown(self, key: Key) -> Machine:
        """The schedule for somebody to look at, also if it cannot be read. Raises Rejected NOT_FOUND, UNAVAILABLE.

        What was asked of it a moment ago is done first: who makes one that acts at once, and looks, sees that it did.
        """
        try:
            async with asyncio.timeout(_SETTLING_S):
                while key in self._carrying:
                    await self.settled.reached(self.settled.count + 1)
        except TimeoutError:
            pass  # its runs cannot be started just now: it is shown as it stands
        return self._shown(await self._record(key))

    async def _record(self, key: Key) -> Record:
        return _there(key, await self._records.get(KIND, *key))

    async def all_of(self, namespace: str, after_id: str = "") -> AsyncGenerator[tuple[str, Machine]]:
        """Schedules of a namespace in order of their ids, past `after_id`; others have their turn in between.

        Raises Rejected UNAVAILABLE.
        """
        pace = Pace()
        while True:
            records = await self._records.stored(self._store.records(KIND, namespace, after_id, self._page))
            for record in records:
                yield record.name, self._shown(record)
                await pace.rest()
            if not records.more:
                return
            after_id = records[-1].name

    async def create(self, key: Key, machine: Machine) -> Machine:
        """Store a new schedule, and do what it asks for; returns the one there is if this was asked before.

        Raises Rejected ALREADY_EXISTS when there is another one of that id, UNAVAILABLE.
        """
        change = RecordChange(KIND, *key, 0, state.encode(machine.state), machine.wake_at_ns(self._now_ns()))
        if not await self._records.put(change):
            existing = await self.get(key)
            if existing.state.request_id != machine.state.request_id:
                raise Rejected(
                    StatusCode.ALREADY_EXISTS,
                    f'schedule "{key.schedule_id}" is already registered',
                    WorkflowExecutionAlreadyStartedFailure(),
                )
            return existing
        self._follow_up(key, machine, change.record)
        return machine

    async def change(
        self,
        key: Key,
        act: Callable[Concatenate[Machine, int, Arguments], Result],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """Have `act(machine, now_ns, ...)` change a schedule, store it, and do what it asks for from then on.

        Raises Rejected NOT_FOUND, UNAVAILABLE, INVALID_ARGUMENT for what cannot be stored, and whatever `act` raises;
        then nothing was changed.
        """
        return await self._change(key, None, act, *arguments, **named)

    async def _change(
        self,
        key: Key,
        first: Record | None,
        act: Callable[Concatenate[Machine, int, Arguments], Result],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """As `change`; `first` is the schedule's record, if it was read or written a moment ago."""

        def decide(stored: Record | None) -> tuple[RecordChange | None, tuple[Machine, Result]]:
            record = _there(key, stored)
            machine, now_ns = self._machine(record), self._now_ns()
            result = act(machine, now_ns, *arguments, **named)
            data, wake_at_ns = state.encode(machine.state), machine.wake_at_ns(self._now_ns())
            is_the_same = data == record.data and wake_at_ns == record.wake_at_ns
            return None if is_the_same else record.change(data, wake_at_ns), (machine, result)

        record, (machine, result) = await self._records.change(KIND, *key, decide, first)
        self._follow_up(key, machine, record)
        return result

    async def delete(self, key: Key) -> None:
        """Forget a schedule; what it started goes on. Raises Rejected NOT_FOUND, UNAVAILABLE."""
        await self._records.change(KIND, *key, lambda stored: (_there(key, stored).change(None), None))

    # --- time -----------------------------------------------------------------------------------

    async def _wake(self, record: Record) -> None:
        """The record's time has come."""
        try:
            await self._change(Key(record.namespace, record.name), record, _advance)
        except Rejected as refusal:
            if refusal.code is not StatusCode.NOT_FOUND:
                raise

    async def _persist(
        self,
        key: Key,
        first: Record | None,
        act: Callable[Concatenate[Machine, int, Arguments], None],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> None:
        """As `_change`, for ourselves: until the store takes it, or the schedule is gone, or parked."""
        while True:
            await self._turnstile.enter()
            try:
                await self._change(key, first, act, *arguments, **named)
                return
            except Exception as error:
                if not await self._may_try_again(key, error):
                    return
            first = None  # from before the pause

    # --- faults ---------------------------------------------------------------------------------

    async def _may_try_again(self, key: Key, error: Exception) -> bool:
        """After a pause that grows. False: it is gone, or was parked, for it fails by what does not pass by itself."""
        if isinstance(error, Rejected) and error.code is StatusCode.NOT_FOUND:
            return False
        setback = self._setbacks.add(key, error)
        if not isinstance(error, (Rejected, StoreError)):
            self._faults.tell(error, "schedule %r could not go on", key.schedule_id)
        elif setback.failures == 1 or not is_passing(error):  # not every second of an outage
            _log.warning("schedule %r waits %d s: %s", key.schedule_id, setback.pause_s, error)
        if setback.faults >= self._faults_max:
            self._setbacks.forget(key)
            try:
                await self._park(key, reason_of(error))
                return False
            except Rejected as refusal:
                _log.warning("schedule %r cannot be parked: %s", key.schedule_id, refusal)
        await asyncio.sleep(setback.pause_s)
        return True

    async def _park(self, key: Key, reason: str) -> None:
        """Leave a schedule alone, and write into it why. Raises Rejected UNAVAILABLE."""

        def mark(data: bytes) -> tuple[bytes, None]:
            stored = state.decode(data)
            state.park(stored, reason)
            return state.encode(stored), None

        await self._records.park(KIND, *key, reason, mark)

    async def _park_record(self, record: Record, reason: str) -> None:
        """What the record waker calls when it gives up."""
        await self._park(Key(record.namespace, record.name), reason)

    # --- carrying out ---------------------------------------------------------------------------

    def _follow_up(self, key: Key, machine: Machine, record: Record | None) -> None:
        """Durable: do what it asks for. One task at a time does so for a schedule."""
        if machine.state.parked or not (machine.state.starting or machine.to_stop()[0]):
            return
        errand = self._carrying.get(key)
        if errand is not None:
            errand.record, errand.is_done = record, False
        elif self._is_open:
            errand = self._carrying[key] = _Errand(record)
            self._spawn(self._carry_out(key, errand))

    async def _carry_out(self, key: Key, errand: _Errand) -> None:
        """Start and stop, until nothing more is asked for."""
        stopped: set[tuple[str, bool]] = set()
        try:
            while not errand.is_done:
                record, errand.record, errand.is_done = errand.record, None, True
                await self._turnstile.enter()
                try:
                    error = await self._act(key, record or await self._record(key), stopped)
                except Exception as raised:
                    error = raised
                if error is None:
                    self._setbacks.forget(key)
                elif await self._may_try_again(key, error):
                    errand.is_done = False  # and unless it was changed meanwhile, its record is read again
        finally:
            del self._carrying[key]
            self.settled.emit()

    async def _act(self, key: Key, record: Record, stopped: set[tuple[str, bool]]) -> Exception | None:
        """Do what the state asks for now. Returns why not all of it could be done, if so."""
        machine = self._machine(record)
        outcomes = await asyncio.gather(*[self._start(key, machine, start) for start in machine.state.starting])
        made = [outcome for outcome in outcomes if isinstance(outcome, _Made)]
        if made:
            await self._persist(key, record, _settle_starts, made)
            for outcome in made:
                if outcome.run_id:
                    self._watch(key, outcome.workflow_id, outcome.run_id)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        runs, force = machine.to_stop()
        for run in runs:
            if (run.run_id, force) not in stopped:
                error = await self._stop_run(key, machine.state.principal, run, force)
                if error is None:
                    stopped.add((run.run_id, force))
                else:
                    errors.append(error)
        return min(errors, key=is_passing, default=None)  # a fault, if there is one: it does not pass by itself

    async def _start(self, key: Key, machine: Machine, start: Start) -> _Made | Exception:
        """What became of it, or why it cannot be done now."""
        try:
            request = requests.start_request(*key, machine.state, machine.schedule, start)
        except Exception as error:
            return error
        workflow_id, principal = request.workflow_id, machine.state.principal

        def start_it(request: StartWorkflowExecutionRequest) -> Awaitable[Started]:
            return self._submit(key.namespace, workflow_id, None, StartWorkflow(request))

        try:
            started: Started = await self._front.act(principal, "StartWorkflowExecution", request, start_it)
        except Rejected as refusal:
            if is_passing(refusal) or refusal.code in _FAULTS:
                return refusal
            run_id = await self._own_run(key, workflow_id, request.request_id, refusal)
            if not run_id:
                text = "schedule %r of %s: %r was not started: %s"
                _log.warning(text, key.schedule_id, principal, workflow_id, refusal)
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

    async def _stop_run(self, key: Key, principal: Principal, run: Running, force: bool) -> Exception | None:
        """Terminate or cancel the run. Returns why it cannot be done now, if so."""

        def stop_it(request: Any) -> Awaitable[Any]:
            return self._submit(key.namespace, run.workflow_id, None, (Terminate if force else RequestCancel)(request))

        try:
            if force:
                rpc, request = "TerminateWorkflowExecution", requests.terminate_request(*key, run)
            else:
                rpc, request = "RequestCancelWorkflowExecution", requests.cancel_request(*key, run)
            await self._front.act(principal, rpc, request, stop_it)
        except Rejected as refusal:
            if is_passing(refusal) or refusal.code in _FAULTS:
                return refusal
            if refusal.code is not StatusCode.NOT_FOUND:  # that one has ended, and it will be noticed
                text = "schedule %r of %s: %r was not stopped: %s"
                _log.warning(text, key.schedule_id, principal, run.workflow_id, refusal)
            return None
        except Exception as error:
            return error
        return None

    # --- the end of runs ------------------------------------------------------------------------

    def _watch(self, key: Key, workflow_id: str, run_id: str) -> None:
        """See to it that the run's end is noticed, also if it has ended already."""
        if self._is_open:
            self.watched[run_id] = key, workflow_id
            self._spawn(self._look(key, workflow_id, run_id))

    def hear(self, news: News) -> None:
        """A run has closed, perhaps one that a schedule waits for."""
        run_id = news.key.run_id
        watched = self.watched.get(run_id)
        if watched is not None:
            self._spawn(self._look(*watched, run_id))

    def gap(self) -> None:
        """Any of the runs may have closed."""
        for run_id, watched in self.watched.items():
            self._spawn(self._look(*watched, run_id))

    async def _look(self, key: Key, workflow_id: str, run_id: str) -> None:
        """If the run has closed, tell the schedule, or follow the chain."""
        while True:
            try:
                outcome = await ending(self._read, self._histories, key.namespace, workflow_id, run_id)
                break
            except Exception as error:
                setback = self._setbacks.add(run_id, error)
                if setback.faults >= self._faults_max:
                    self._faults.tell(error, "how %r of schedule %r ended is not known", workflow_id, key.schedule_id)
                    outcome = UNKNOWN
                    break
                _log.warning("the end of %r cannot be read, trying again: %s", workflow_id, error)
            await asyncio.sleep(setback.pause_s)
        self._setbacks.forget(run_id)
        if outcome is None or self.watched.pop(run_id, None) is None:
            return
        if isinstance(outcome, str):
            await self._persist(key, None, _continued, run_id, outcome)
            self._watch(key, workflow_id, outcome)
        else:
            await self._persist(key, None, _ended, run_id, *outcome)


def _there(key: Key, record: Record | None) -> Record:
    """Raises Rejected NOT_FOUND."""
    if record is None:
        raise Rejected(StatusCode.NOT_FOUND, f"schedule {key.schedule_id!r} not found", NotFoundFailure())
    return record


class _Errand:
    """What the task that acts for a schedule has to do."""

    __slots__ = ("is_done", "record")

    def __init__(self, record: Record | None) -> None:
        self.record = record
        """The newest one that asks for something; None: it is in the store."""
        self.is_done = False


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
