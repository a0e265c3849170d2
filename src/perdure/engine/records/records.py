"""The keeper of records: of whatever has a name, a state and perhaps a deadline, and is no execution.

An owner of a kind of records (schedules, batch operations) says what is in them and what a change makes of one; that
it is made by compare-and-set, again when somebody else was quicker, that its deadline is made known, and that one which
cannot be carried out is parked, is said here, once.

Changes are written in groups, as commits are: one task writes, what becomes ready meanwhile gathers and is the next
transaction. Each change is compared and set on its own; one that cannot be stored fails alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from perdure.api.errors import Rejected, StatusCode
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.faults import Faults, as_rejected, stopping
from perdure.engine.node.gatherer import Gatherer
from perdure.engine.node.metrics import Metrics
from perdure.stores.api import Outcome, Record, RecordChange, Store, StoreError, Unstorable

_log = logging.getLogger(__name__)

_SLICE = 16
"""Changes of a batch that are made known in one turn of the event loop."""

_TOGETHER_MAX = 500
"""Changes in one transaction."""

Result = TypeVar("Result")


class _Waiting(NamedTuple):
    change: RecordChange
    applied: asyncio.Future[bool]


class Records(Gatherer[_Waiting]):
    """See the module's text. `lower(record)` is called with every change that was applied and has a deadline."""

    def __init__(
        self, store: Store, config: EngineConfig, metrics: Metrics, lower: Callable[[RecordChange], None]
    ) -> None:
        super().__init__(_TOGETHER_MAX)
        self._store = store
        self._tries_max = config.conflict_tries_max
        self._metrics = metrics
        self._lower = lower
        self._waiting: set[asyncio.Future[bool]] = set()
        self._is_open = False
        self._faults = Faults(_log)

    async def start(self) -> None:
        """Begin to write."""
        self._is_open = True
        await super().start()

    async def stop(self) -> None:
        """Who waits is told UNAVAILABLE: what was being written may be durable or not."""
        self._is_open = False
        await super().stop()
        for applied in list(self._waiting):
            if not applied.done():
                applied.set_exception(stopping())

    async def change(
        self,
        kind: str,
        namespace: str,
        name: str,
        decide: Callable[[Record | None], tuple[RecordChange | None, Result]],
        first: Record | None = None,
    ) -> tuple[Record | None, Result]:
        """The record as it stands after the change that `decide(stored)` asks for, and what else `decide` returns.

        `decide` is asked again, on the record as it is stored then, when somebody else was quicker; a change that is
        None leaves the record as it is. With `first`, a record that was read or written a moment ago, the store is
        not asked for it: a change decided on an old one is a conflict. Raises Rejected UNAVAILABLE, also when too many
        change the record at once, INVALID_ARGUMENT for what cannot be stored, and whatever `decide` raises; then
        nothing was changed.
        """
        stored = first
        for _ in range(self._tries_max):
            stored = stored or await self.get(kind, namespace, name)
            change, result = decide(stored)
            if change is None:
                return stored, result
            if await self.put(change):
                return change.record, result
            stored = None
        message = f"{kind.capitalize()} {name!r} is being changed too often: try again."
        raise Rejected(StatusCode.UNAVAILABLE, message)

    async def park(
        self, kind: str, namespace: str, name: str, reason: str, mark: Callable[[bytes], tuple[bytes, int | None]]
    ) -> None:
        """Leave a record alone from now on: its owner has given it up.

        `mark(data)` gives the data with the reason in it, and when the owner looks at it again, if ever. A record that
        cannot be read says so whenever somebody looks: its bytes are left as they are. Raises Rejected UNAVAILABLE.
        """

        def decide(stored: Record | None) -> tuple[RecordChange | None, None]:
            if stored is None or stored.damage:  # what were written now would look sound
                return None, None
            try:
                data, wake_at_ns = mark(stored.data)
            except Exception:
                data, wake_at_ns = stored.data, None
            return stored.change(data, wake_at_ns), None

        stored, _ = await self.change(kind, namespace, name, decide)
        if stored is not None:
            self._metrics.parked_records += 1
            text = "%s %r is parked until somebody changes it: %s"
            _log.error(text, kind, name, stored.damage or reason)

    async def put(self, change: RecordChange) -> bool:
        """Make the change, durably; False: it is a conflict, somebody else was quicker.

        Raises Rejected UNAVAILABLE, INVALID_ARGUMENT for what cannot be stored.
        """
        if not self._is_open:
            raise stopping()
        applied: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.add(applied)
        self.add(_Waiting(change, applied))
        try:
            return await applied
        finally:
            self._waiting.discard(applied)

    async def get(self, kind: str, namespace: str, name: str) -> Record | None:
        """The record as it is stored now. Raises Rejected UNAVAILABLE."""
        return await self.stored(self._store.record(kind, namespace, name))

    async def stored(self, reading: Awaitable[Result]) -> Result:
        """What a read of the store gives. Raises Rejected UNAVAILABLE."""
        try:
            return await reading
        except StoreError as error:
            self._metrics.store_errors += 1
            raise as_rejected(error) from error

    async def _work(self, batch: list[_Waiting]) -> None:
        try:
            outcomes = await self._store.put_records([one.change for one in batch])
        except StoreError as error:
            self._metrics.store_errors += 1
            for one in batch:
                _fail(one, as_rejected(error))
            return
        except Exception as error:  # one of them may be to blame, and compare-and-set makes trying again safe
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._work(batch[:middle])
                await self._work(batch[middle:])
                return
            outcomes = [error]
        self._metrics.record_batches += 1
        for number, (one, outcome) in enumerate(zip(batch, outcomes, strict=True), 1):
            self._settle(one, outcome)
            if number % _SLICE == 0:
                await asyncio.sleep(0)  # whoever waited for these goes on before the others do

    def _settle(self, one: _Waiting, outcome: Outcome | Exception) -> None:
        change = one.change
        if isinstance(outcome, Exception):
            self._metrics.store_errors += 1
            if not (isinstance(outcome, Unstorable) and outcome.is_value):
                self._faults.tell(outcome, "%s %r cannot be stored", change.kind, change.name)
            _fail(one, as_rejected(outcome, "The store"))
            return
        if outcome is Outcome.APPLIED and change.wake_at_ns is not None:
            self._lower(change)
        if not one.applied.done():
            one.applied.set_result(outcome is Outcome.APPLIED)


def _fail(one: _Waiting, error: Rejected) -> None:
    if not one.applied.done():
        one.applied.set_exception(error)
