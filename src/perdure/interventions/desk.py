"""`engine.interventions`: where a person sees what waits, and decides.

Entries are in the memos of the open runs; there is no second table that could disagree with the history.
Runs with such a memo are found by the index of memo keys, which a perdure server has; on another server every open
run is looked at. A decision is a signal, and has been made when that is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
from temporalio.api.workflowservice import v1 as service

from perdure.api.status import OPEN_FILTER
from perdure.interventions.entry import MEMO_KEY, Action, Decision, Intervention, signal_of
from perdure.sdk.client import AsyncClient, WorkflowSummary
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.deprecated import FormerlyAsync
from perdure.sdk.errors import EngineError, InterventionNotFoundError, WorkflowNotFoundError
from perdure.sdk.option_names import lists_options

T = TypeVar("T")
Ask = Callable[[Coroutine[Any, Any, Any]], Any]

_WAITING = f'{OPEN_FILTER} AND PerdureMemoKeys = "{MEMO_KEY}"'
_ALL = 10_000_000


@lists_options
@sends_texts
class AsyncInterventions:
    """What waits for a person's decision. `who` decides and `why` are required, and kept in the history.

    `engine.interventions` is one; of a client that has no engine, `AsyncInterventions(client)`.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._reach = client._reach  # pyright: ignore[reportPrivateUsage] - asks as the client does

    async def list(self) -> list[Intervention]:
        """All entries of all open runs, oldest first."""
        found: list[Intervention] = []
        for summary in await self._candidates():
            found += await self._of(summary.id, summary.run_id)
        return sorted(found, key=lambda entry: (entry.opened_at, entry.id))

    async def _candidates(self) -> Sequence[WorkflowSummary]:
        """Open runs that may have an entry."""
        try:
            return await self._client.list(_WAITING, limit=_ALL)
        except EngineError as error:
            if "invalid search attribute" not in str(error):
                raise
        return await self._client.list(OPEN_FILTER, limit=_ALL)

    async def retry(self, entry: Intervention | str, *, who: str, why: str) -> None:
        """Run the step again, with its retries from the first. If it fails again that is another entry.

        Raises:
            InterventionNotFoundError: the entry does not wait any more.
            ValueError: `who` or `why` is empty.
        """
        await self._decide(entry, Action.RETRY, who, why)

    async def complete(self, entry: Intervention | str, value: Any = None, *, who: str, why: str) -> None:
        """The step was done by hand, and counts as done with that value. Raises as `retry`, and PayloadError."""
        await self._decide(entry, Action.COMPLETE, who, why, value)

    async def skip(self, entry: Intervention | str, *, who: str, why: str) -> None:
        """The step need not be done: go on without it. Raises as `retry`."""
        await self._decide(entry, Action.SKIP, who, why)

    async def fail(self, entry: Intervention | str, *, who: str, why: str) -> None:
        """The step cannot be done: go on without it, and let the run say so when it fails. Raises as `retry`."""
        await self._decide(entry, Action.FAIL, who, why)

    async def _decide(self, entry: Intervention | str, action: Action, who: str, why: str, value: Any = None) -> None:
        if not who or not why:
            raise ValueError("a decision needs who made it and why: both stay in the history")
        found = await self._find(entry)
        reach = self._reach
        request = service.SignalWorkflowExecutionRequest(
            namespace=reach.namespace, signal_name=signal_of(found.id), identity=who, request_id=reach.new_id()
        )
        request.workflow_execution.workflow_id, request.workflow_execution.run_id = found.workflow_id, found.run_id
        what = f"the decision on intervention {found.id}"
        request.input.payloads.extend(reach.converter.to_payloads((Decision(action, who, why, value),), what))
        try:
            await reach.ask(reach.connection.signal_workflow_execution, request, what)
        except WorkflowNotFoundError as error:
            raise _gone(found.id) from error

    async def _find(self, entry: Intervention | str) -> Intervention:
        if isinstance(entry, Intervention):
            candidates = await self._of(entry.workflow_id, entry.run_id)
            wanted = entry.id
        else:
            candidates = await self.list()
            wanted = entry
        for candidate in candidates:
            if candidate.id == wanted:
                return candidate
        raise _gone(wanted)

    async def _of(self, workflow_id: str, run_id: str) -> list[Intervention]:
        try:
            description = await self._client.get(workflow_id, run_id).describe(stack=False)
        except WorkflowNotFoundError:
            return []  # it closed and was deleted while the list was read
        if not description.status.is_open or MEMO_KEY not in description.memo:
            return []
        return msgspec.convert(description.memo[MEMO_KEY], list[Intervention])


@lists_options
class Interventions(metaclass=FormerlyAsync):
    """`AsyncInterventions` for plain code: the same methods, blocking."""

    awaits = AsyncInterventions

    def __init__(self, inner: AsyncInterventions, call: Ask) -> None:
        self._inner = inner
        self._call = call

    def list(self) -> list[Intervention]:
        """See `AsyncInterventions.list`."""
        return self._call(self._inner.list())

    def retry(self, entry: Intervention | str, *, who: str, why: str) -> None:
        """See `AsyncInterventions.retry`."""
        self._call(self._inner.retry(entry, who=who, why=why))

    def complete(self, entry: Intervention | str, value: Any = None, *, who: str, why: str) -> None:
        """See `AsyncInterventions.complete`."""
        self._call(self._inner.complete(entry, value, who=who, why=why))

    def skip(self, entry: Intervention | str, *, who: str, why: str) -> None:
        """See `AsyncInterventions.skip`."""
        self._call(self._inner.skip(entry, who=who, why=why))

    def fail(self, entry: Intervention | str, *, who: str, why: str) -> None:
        """See `AsyncInterventions.fail`."""
        self._call(self._inner.fail(entry, who=who, why=why))


def _gone(entry_id: str) -> InterventionNotFoundError:
    return InterventionNotFoundError(
        f"no intervention {entry_id!r} waits: it was decided before, or its run has ended; see interventions.list()"
    )
