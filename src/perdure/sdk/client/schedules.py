"""`engine.schedules`: workflows that start by the clock.

    engine.schedules.create("nightly-bill", bill, "all", cron="0 2 * * *", time_zone="Europe/Berlin")

A schedule lives in the engine, not in this process: it acts while an engine is open on its store, and makes up for
what it missed when it is opened again.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, TypeVarTuple, Unpack

from temporalio.api.common.v1 import Payload
from temporalio.api.schedule.v1 import Schedule, SchedulePatch
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.client.blocking import Blocking, blocking
from perdure.sdk.client.calls import Reach, public_error
from perdure.sdk.client.schedule_times import (
    Calendar,
    Overlap,
    ScheduleDescription,
    ScheduleSummary,
    described,
    moment,
    overlap_number,
    policies_of,
    spec_of,
    summary,
)
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.convert.user_metadata import put_metadata
from perdure.sdk.declare.named import workflow_given
from perdure.sdk.declare.search_attributes import SearchAttributes
from perdure.sdk.declare.startable import Runs, StartableWorkflow
from perdure.sdk.deprecated import instead
from perdure.sdk.errors import ScheduleAlreadyExistsError, ScheduleNotFoundError
from perdure.sdk.interceptors import CreateScheduleInput, put_headers
from perdure.sdk.moments import moment_of, ns_of
from perdure.sdk.option_names import lists_options, takes_options
from perdure.sdk.options import Duration, Retry, count
from perdure.sdk.starting import put_notes, put_repetition

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

StartRequest = Callable[..., service.StartWorkflowExecutionRequest]
_PAGE = 500


class ScheduleOptions(TypedDict, total=False):
    """Of `create`."""

    every: Duration | None
    phase: Duration | None
    cron: str | Sequence[str]
    calendars: Sequence[Calendar]
    excluding: Sequence[Calendar]
    time_zone: str
    begins: datetime | None
    ends: datetime | None
    jitter: Duration | None
    overlap: Overlap | str
    catchup_window: Duration | None
    pause_on_failure: bool
    paused: bool
    note: str
    actions: int | None
    workflow_id: str | None
    task_queue: str | None
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | None
    trigger: bool
    retry: Retry | None
    static_summary: str | None
    static_details: str | None


_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(ScheduleOptions.__annotations__),
    **dict.fromkeys(("cron", "calendars", "excluding"), ()),
    **dict.fromkeys(("pause_on_failure", "paused", "trigger"), False),
    **dict.fromkeys(("note", "time_zone"), ""),
    "overlap": Overlap.SKIP,
}


@lists_options
@sends_texts
class AsyncSchedules:
    """See the module's text. Every method may raise EngineError."""

    def __init__(self, reach: Reach, start_request: StartRequest) -> None:
        self._reach = reach
        self._start_request = start_request

    @takes_options(ScheduleOptions, **_DEFAULTS)
    async def create(
        self,
        id: str,
        workflow: StartableWorkflow[*Ts, Any] | type[Runs[*Ts, Any]] | str,
        *args: *Ts,
        **options: Unpack[ScheduleOptions],
    ) -> None:
        """Make a schedule. The times are those of `every`, `cron` and `calendars` together.

        Args:
            id: of the schedule.
            workflow: what it starts, with these args; as `start` takes it.
            every: an interval, counted from 1970-01-01T00:00Z plus `phase`; at least a second.
            cron: "0 12 * * MON-FRI", "@daily", "@every 90m"; one or several.
            calendars: as cron, field by field.
            excluding: times that are left out.
            time_zone: an IANA name, of cron and calendars; default UTC.
            begins, ends: no times before, or after; aware of their zones.
            jitter: act up to so much later, each time the same.
            overlap: what happens when the one before still runs; by default nothing is started.
            catchup_window: how late a missed time may be made up for; default a year, at least 10 s.
            pause_on_failure: pause when a run fails or times out.
            paused, note: how it begins.
            actions: pause for good after so many; default never.
            workflow_id: what the ids of its workflows begin with; default `id`. The time follows.
            task_queue: whose workers run them.
            memo, search_attributes: of the schedule.
            trigger: act once at once.
            retry, static_summary, static_details: of its workflows, as in `Engine.start`.

        Raises:
            ScheduleAlreadyExistsError: there is one of that id.
            ValueError: times or a policy that cannot be.
            PayloadError, TypeError: as `start` does.
        """
        given = CreateScheduleInput(id, workflow_given(workflow), args, {**_DEFAULTS, **options})
        outbound = self._reach.outbound
        if outbound is None:
            await create_schedule(self._reach, self._start_request, given)
        else:
            await outbound.create_schedule(given)

    async def describe(self, id: str) -> ScheduleDescription:
        """How it stands. Raises ScheduleNotFoundError."""
        request = service.DescribeScheduleRequest(namespace=self._reach.namespace, schedule_id=id)
        response = await self._ask(self._reach.connection.describe_schedule, request, id)
        return described(id, response, self._reach.converter)

    async def list(self, query: str = "", *, limit: int = 1000) -> builtins.list[ScheduleSummary]:
        """Schedules that a query finds, as `TemporalSchedulePaused = true`, in order of their ids; at most `limit`.

        Raises EngineError; TypeError, ValueError: a limit that is no count.
        """
        count(limit, "limit")
        reach = self._reach
        found: list[ScheduleSummary] = []
        request = service.ListSchedulesRequest(namespace=reach.namespace, query=query)
        while len(found) < limit:
            request.maximum_page_size = min(_PAGE, limit - len(found))
            page = await reach.ask(reach.connection.list_schedules, request, "listing schedules")
            found += [summary(entry) for entry in page.schedules]
            if not page.next_page_token:
                break
            request.next_page_token = page.next_page_token
        return found

    async def pause(self, id: str, note: str = "paused") -> None:
        """Act no more by itself; times that pass are not made up for. Raises ScheduleNotFoundError."""
        await self._patch(id, SchedulePatch(pause=note or "paused"))

    async def unpause(self, id: str, note: str = "unpaused") -> None:
        """Act again from now on. Raises ScheduleNotFoundError."""
        await self._patch(id, SchedulePatch(unpause=note or "unpaused"))

    async def trigger(self, id: str, *, overlap: Overlap | str | None = None) -> None:
        """Act now, also when paused. `overlap`: for this once. Raises ScheduleNotFoundError."""
        patch = SchedulePatch()
        patch.trigger_immediately.overlap_policy = overlap_number(overlap)  # pyright: ignore[reportAttributeAccessIssue]
        await self._patch(id, patch)

    async def backfill(
        self, id: str, start: datetime, end: datetime, *, overlap: Overlap | str = Overlap.BUFFER_ALL
    ) -> None:
        """Act for every time from `start` to `end`, both included, one after another or as `overlap` says.

        Raises ScheduleNotFoundError, ValueError for times without a zone.
        """
        patch = SchedulePatch()
        patch.backfill_request.add(
            start_time=moment(start, "start"),
            end_time=moment(end, "end"),
            overlap_policy=overlap_number(overlap),
        )
        await self._patch(id, patch)

    async def delete(self, id: str) -> None:
        """Forget it; what it started goes on. Raises ScheduleNotFoundError."""
        reach = self._reach
        request = service.DeleteScheduleRequest(namespace=reach.namespace, schedule_id=id, identity=reach.identity)
        await self._ask(reach.connection.delete_schedule, request, id)

    async def times(self, id: str, start: datetime, end: datetime) -> builtins.list[datetime]:
        """The schedule's times after `start` up to `end`, in UTC, at most 1,000.

        Raises ScheduleNotFoundError, ValueError for times without a zone.
        """
        reach = self._reach
        request = service.ListScheduleMatchingTimesRequest(
            namespace=reach.namespace,
            schedule_id=id,
            start_time=moment(start, "start"),
            end_time=moment(end, "end"),
        )
        response = await self._ask(reach.connection.list_schedule_matching_times, request, id)
        return [moment_of(at.ToNanoseconds()) for at in response.start_time]

    if not TYPE_CHECKING:

        @instead("engine.schedules.times(...), which gives datetimes")
        async def matching_times(self, id: str, start: datetime, end: datetime) -> builtins.list[int]:
            return [ns_of(at) for at in await self.times(id, start, end)]

    async def _patch(self, id: str, patch: SchedulePatch) -> None:
        reach = self._reach
        request = service.PatchScheduleRequest(
            namespace=reach.namespace, schedule_id=id, identity=reach.identity, request_id=reach.new_id(), patch=patch
        )
        await self._ask(reach.connection.patch_schedule, request, id)

    async def _ask(self, rpc: Callable[[Any], Coroutine[Any, Any, T]], request: Any, id: str) -> T:
        try:
            return await self._reach.call(rpc, request)
        except Rejected as rejected:
            if rejected.code is StatusCode.NOT_FOUND:
                raise ScheduleNotFoundError(f"there is no schedule {id!r}") from rejected
            raise public_error(rejected, f"asking schedule {id!r}") from rejected


async def create_schedule(reach: Reach, start_request: StartRequest, given: CreateScheduleInput) -> None:
    """`create`, behind the interceptors. Raises as that does."""
    request = service.CreateScheduleRequest(
        namespace=reach.namespace, schedule_id=given.id, identity=reach.identity, request_id=reach.new_id()
    )
    option = given.options
    schedule = request.schedule
    schedule.spec.CopyFrom(spec_of(*map(option.__getitem__, _OF_TIMES)))
    schedule.policies.CopyFrom(policies_of(option["overlap"], option["catchup_window"], option["pause_on_failure"]))
    workflow_id = option["workflow_id"] or given.id
    start = start_request(given.workflow, tuple(given.args), workflow_id, option["task_queue"])
    action = _put_action(schedule, start, given.headers)
    put_repetition(action, option["retry"])
    put_metadata(action, reach.converter, option["static_summary"], option["static_details"])
    _put_state(request, option["paused"], option["note"], option["actions"], option["trigger"])
    put_notes(request, reach.converter, option["memo"], option["search_attributes"])
    try:
        await reach.call(reach.connection.create_schedule, request)
    except Rejected as rejected:
        if rejected.code is StatusCode.ALREADY_EXISTS:
            raise ScheduleAlreadyExistsError(f"there is a schedule {request.schedule_id!r} already") from rejected
        if rejected.code is StatusCode.INVALID_ARGUMENT:
            raise ValueError(rejected.message) from rejected
        raise public_error(rejected, f"creating schedule {request.schedule_id!r}") from rejected


_OF_TIMES = ("every", "phase", "cron", "calendars", "excluding", "time_zone", "begins", "ends", "jitter")


def _put_action(
    schedule: Schedule, start: service.StartWorkflowExecutionRequest, headers: Mapping[str, Payload]
) -> NewWorkflowExecutionInfo:
    action = schedule.action.start_workflow
    action.workflow_id = start.workflow_id
    action.workflow_type.CopyFrom(start.workflow_type)
    action.task_queue.CopyFrom(start.task_queue)
    action.input.CopyFrom(start.input)
    if headers:
        put_headers(action.header, headers)
    return action


def _put_state(
    request: service.CreateScheduleRequest, paused: bool, note: str, actions: int | None, trigger: bool
) -> None:
    """How a schedule begins. Raises TypeError, ValueError."""
    state = request.schedule.state
    state.paused, state.notes = paused, note
    if actions is not None:
        state.limited_actions, state.remaining_actions = True, count(actions, "actions")
    if trigger:
        request.initial_patch.trigger_immediately.SetInParent()


@lists_options
class Schedules(Blocking[AsyncSchedules]):
    """`AsyncSchedules` for plain code: the same methods, blocking."""

    create = blocking(AsyncSchedules.create)
    describe = blocking(AsyncSchedules.describe)
    pause = blocking(AsyncSchedules.pause)
    unpause = blocking(AsyncSchedules.unpause)
    trigger = blocking(AsyncSchedules.trigger)
    backfill = blocking(AsyncSchedules.backfill)
    delete = blocking(AsyncSchedules.delete)
    times = blocking(AsyncSchedules.times)
    list = blocking(AsyncSchedules.list)

    if not TYPE_CHECKING:
        matching_times = blocking(AsyncSchedules.matching_times)
