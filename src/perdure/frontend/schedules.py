"""Schedules: create, describe, update, patch, delete, list, count, and the times that one stands for."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from temporalio.api.common.v1 import Memo, SearchAttributes
from temporalio.api.schedule.v1 import (
    Schedule,
    ScheduleActionResult,
    ScheduleInfo,
    ScheduleListEntry,
    ScheduleListInfo,
    SchedulePatch,
)
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.api.workflowservice import v1 as service

from perdure.api.bounds import cap
from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import LONG_MAX, LONG_MIN, timestamp, timestamp_ns
from perdure.core import retry
from perdure.core.schedule import state as states
from perdure.core.schedule.fields import BadSpec
from perdure.core.schedule.machine import Machine, is_repeated, new_state, prepared
from perdure.core.schedule.requests import nominal_text
from perdure.core.schedule.state import BACKFILLS_MAX, Action, State
from perdure.core.search_attributes import BadSearchAttribute, check
from perdure.engine.engine import Engine
from perdure.engine.node.pace import Pace
from perdure.engine.node.zones import find_zone
from perdure.engine.records.schedules import Key
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_length, exceeds_blob_limit, invalid
from perdure.frontend.page_tokens import decode_name, encode_name
from perdure.frontend.schedule_filter import schedule_filter
from perdure.stores.api import PAGE_BYTES

_FUTURE, _FUTURE_LISTED = 10, 5
_RECENT_LISTED = 5
_MATCHING_MAX = 1000
_SEARCHES_MAX = 100
"""In a call: about two seconds of work, a little at a time."""
_PAGE_DEFAULT = 1000
_TOKEN_BYTES = 8


class Schedules:
    """The RPCs of a noun of their own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- one schedule ---------------------------------------------------------------------------

    async def create(self, request: service.CreateScheduleRequest, call: Call) -> service.CreateScheduleResponse:
        """CreateSchedule. The same request id again is answered as the first time.

        Raises Rejected ALREADY_EXISTS, INVALID_ARGUMENT for what can never be carried out.
        """
        engine = self._engine
        check_request_id(request.request_id, call)
        check_schedule_id(request.schedule_id, call)
        schedule = self._checked(request, call)
        now_ns = engine.clock.now_ns()
        state = new_state(
            engine.new_id(),
            schedule,
            now_ns,
            request_id=request.request_id,
            memo=request.memo.SerializeToString(),
            attributes=request.search_attributes.SerializeToString(),
        )
        state.principal = call.principal
        key = Key(request.namespace, request.schedule_id)
        machine = engine.schedules.machine(key, states.encode(state))
        if request.HasField("initial_patch"):
            _check_patch(request.initial_patch, call)
            machine.patch(request.initial_patch, now_ns)
        made = await engine.schedules.create(key, machine)
        return service.CreateScheduleResponse(conflict_token=_token(made.state))

    async def describe(self, request: service.DescribeScheduleRequest, call: Call) -> service.DescribeScheduleResponse:
        """DescribeSchedule. Raises Rejected NOT_FOUND."""
        machine = await self._engine.schedules.shown(self._key(request, call))
        state = machine.state
        return service.DescribeScheduleResponse(
            schedule=machine.schedule,
            info=_info(machine, self._engine.clock.now_ns()),
            memo=Memo.FromString(state.memo) if state.memo else None,
            search_attributes=SearchAttributes.FromString(state.search_attributes) if state.search_attributes else None,
            conflict_token=_token(state),
        )

    async def update(self, request: service.UpdateScheduleRequest, call: Call) -> service.UpdateScheduleResponse:
        """UpdateSchedule. Raises Rejected NOT_FOUND, INVALID_ARGUMENT, FAILED_PRECONDITION: the token is an old one."""
        key = self._key(request, call)
        schedule = self._checked(request, call)

        def act(machine: Machine, now_ns: int) -> None:
            state = machine.state
            if is_repeated(state, request.request_id):
                return
            if request.conflict_token and request.conflict_token != _token(state):
                raise Rejected(StatusCode.FAILED_PRECONDITION, "mismatched conflict token")
            if request.HasField("memo"):
                state.memo = request.memo.SerializeToString()
            if request.HasField("search_attributes"):
                state.search_attributes = request.search_attributes.SerializeToString()
            state.principal = call.principal  # what is done from now on is what this caller said
            machine.update(schedule, now_ns)

        await self._engine.schedules.change(key, act)
        return service.UpdateScheduleResponse()

    async def patch(self, request: service.PatchScheduleRequest, call: Call) -> service.PatchScheduleResponse:
        """PatchSchedule: pause, unpause, trigger, backfill. Raises Rejected NOT_FOUND, INVALID_ARGUMENT."""
        key = self._key(request, call)
        if not request.HasField("patch"):
            raise invalid("Patch is not set on request.")
        _check_patch(request.patch, call)

        def act(machine: Machine, now_ns: int) -> None:
            if not is_repeated(machine.state, request.request_id):
                machine.patch(request.patch, now_ns)

        await self._engine.schedules.change(key, act)
        return service.PatchScheduleResponse()

    async def delete(self, request: service.DeleteScheduleRequest, call: Call) -> service.DeleteScheduleResponse:
        """DeleteSchedule: what it started goes on. Raises Rejected NOT_FOUND."""
        await self._engine.schedules.delete(self._key(request, call))
        return service.DeleteScheduleResponse()

    async def matching_times(
        self, request: service.ListScheduleMatchingTimesRequest, call: Call
    ) -> service.ListScheduleMatchingTimesResponse:
        """ListScheduleMatchingTimes: later than the start, up to the end, at most 1,000.

        Raises Rejected NOT_FOUND; INVALID_ARGUMENT when the search takes too long, saying how far it came.
        """
        machine = await self._engine.schedules.get(self._key(request, call))
        after_ns, end_ns = timestamp_ns(request.start_time), timestamp_ns(request.end_time)
        response = service.ListScheduleMatchingTimesResponse()
        pace = Pace()
        for _ in range(_SEARCHES_MAX):
            found, following_ns = machine.times_between(after_ns, end_ns, _MATCHING_MAX - len(response.start_time))
            response.start_time.extend(timestamp(at_ns) for at_ns in found)
            if following_ns is None or len(response.start_time) == _MATCHING_MAX:
                return response
            after_ns = following_ns
            await pace.rest()
        raise invalid(
            f"the times of this schedule are few and take long to find: {len(response.start_time)} of them up to "
            f"{nominal_text(after_ns)}; ask for a shorter stretch of time"
        )

    def _key(self, request: Any, call: Call) -> Key:
        check_schedule_id(request.schedule_id, call)
        return Key(request.namespace, request.schedule_id)

    def _checked(self, request: service.CreateScheduleRequest | service.UpdateScheduleRequest, call: Call) -> Schedule:
        """The schedule as it is kept. Raises Rejected INVALID_ARGUMENT when it cannot be carried out."""
        if exceeds_blob_limit(call, request.memo):
            raise invalid("Blob data size exceeds limit.")
        type_of = self._engine.namespaces.attribute_type
        schedule = _checked(request.schedule, call)
        for attributes in (request.search_attributes, schedule.action.start_workflow.search_attributes):
            try:
                check(attributes.indexed_fields, request.namespace, type_of)
            except BadSearchAttribute as fault:
                raise invalid(str(fault)) from fault
        return schedule

    # --- all of them ----------------------------------------------------------------------------

    async def list(self, request: service.ListSchedulesRequest, call: Call) -> service.ListSchedulesResponse:
        """ListSchedules, in order of their ids, a page bounded by number and by bytes.

        Raises Rejected INVALID_ARGUMENT for a query that means nothing.
        """
        engine = self._engine
        accepts = schedule_filter(engine, request.namespace, request.query)
        limit = min(request.maximum_page_size or _PAGE_DEFAULT, _PAGE_DEFAULT)
        if limit < 0:
            raise invalid("maximum_page_size is negative.")
        response, now_ns = service.ListSchedulesResponse(), engine.clock.now_ns()
        after_id = decode_name(request.next_page_token)
        size = 0
        async with aclosing(engine.schedules.all_of(request.namespace, after_id)) as schedules:
            async for schedule_id, machine in schedules:
                if not accepts(schedule_id, machine):
                    continue
                entry = _entry(schedule_id, machine, now_ns)
                size += entry.ByteSize()
                if response.schedules and (size > PAGE_BYTES or len(response.schedules) == limit):
                    response.next_page_token = encode_name(response.schedules[-1].schedule_id)
                    break
                response.schedules.append(entry)
        return response

    async def count(self, request: service.CountSchedulesRequest, call: Call) -> service.CountSchedulesResponse:
        """CountSchedules. Raises Rejected INVALID_ARGUMENT for a query that means nothing."""
        engine = self._engine
        accepts = schedule_filter(engine, request.namespace, request.query)
        count = 0
        async for schedule_id, machine in engine.schedules.all_of(request.namespace):
            count += accepts(schedule_id, machine)
        return service.CountSchedulesResponse(count=count)


# --- requests -------------------------------------------------------------------------------------


def check_request_id(request_id: str, call: Call) -> None:
    """Raises Rejected INVALID_ARGUMENT when it is missing or too long."""
    if not request_id:
        raise invalid("RequestId is not set on request.")
    check_length(call, "RequestId", request_id)


def check_schedule_id(schedule_id: str, call: Call) -> None:
    """Raises Rejected INVALID_ARGUMENT when it is missing or too long."""
    if not schedule_id:
        raise invalid("ScheduleId is not set on request.")
    check_length(call, "ScheduleId", schedule_id)


def _checked(schedule: Schedule, call: Call) -> Schedule:
    """Itself alone."""
    if not schedule.action.HasField("start_workflow"):
        raise invalid("Only StartWorkflow action is supported for schedules")
    _check_action(schedule.action.start_workflow, call)
    if exceeds_blob_limit(call, schedule):
        raise invalid("Blob data size exceeds limit.")
    check_length(call, "Notes", schedule.state.notes)
    if schedule.state.remaining_actions < 0:
        raise invalid(f"remaining_actions is negative: {schedule.state.remaining_actions}")
    try:
        return prepared(schedule, find_zone)
    except BadSpec as fault:
        raise invalid(f"Invalid schedule spec: {fault}") from fault


def _check_action(action: NewWorkflowExecutionInfo, call: Call) -> None:
    check_length(call, "WorkflowId", f"{action.workflow_id}-{nominal_text(0)}")
    if not action.workflow_type.name:
        raise invalid("WorkflowType is not set on request.")
    check_length(call, "WorkflowType", action.workflow_type.name)
    if not action.task_queue.name:
        raise invalid("taskQueue is not set")
    check_length(call, "taskQueue", action.task_queue.name)
    if action.cron_schedule:
        raise invalid("Scheduled workflow must not contain CronSchedule")
    if action.workflow_id_reuse_policy:
        raise invalid("Scheduled workflow must not contain WorkflowIDReusePolicy")
    for name in ("Execution", "Run", "Task"):
        why = cap(getattr(action, f"workflow_{name.lower()}_timeout"))
        if why:
            raise invalid(f"An invalid Workflow{name}TimeoutSeconds is set on request. cause: {why}")
    if action.HasField("retry_policy"):
        why = retry.fault(action.retry_policy)
        if why:
            raise invalid(why)


def _check_patch(patch: SchedulePatch, call: Call) -> None:
    if max(len(patch.pause), len(patch.unpause)) > call.limits.id_length:
        raise invalid("Schedule notes exceeds limit.")
    if len(patch.backfill_request) > BACKFILLS_MAX:
        raise invalid(f"too many backfills: {len(patch.backfill_request)} > {BACKFILLS_MAX}")
    scheduled = patch.trigger_immediately.scheduled_time
    if timestamp_ns(scheduled) in (LONG_MIN, LONG_MAX):
        raise invalid(f"scheduled_time is no time that can be stored, from 1678 to 2261: {scheduled.seconds} s")


# --- responses ------------------------------------------------------------------------------------


def _token(state: State) -> bytes:
    return state.conflict_token.to_bytes(_TOKEN_BYTES, "big")


def _info(machine: Machine, now_ns: int) -> ScheduleInfo:
    state = machine.state
    info = ScheduleInfo(
        action_count=state.action_count,
        missed_catchup_window=state.missed_catchup_window,
        overlap_skipped=state.overlap_skipped,
        buffer_dropped=state.buffer_dropped,
        buffer_size=len(state.buffer),
        recent_actions=[_result(action) for action in state.recent],
        future_action_times=[timestamp(at_ns) for at_ns in machine.future_times(now_ns, _FUTURE)],
        create_time=timestamp(state.created_at_ns),
        invalid_schedule_error=state.parked,
    )
    for run in state.running:
        info.running_workflows.add(workflow_id=run.workflow_id, run_id=run.run_id)
    if state.updated_at_ns:
        info.update_time.CopyFrom(timestamp(state.updated_at_ns))
    return info


def _result(action: Action) -> ScheduleActionResult:
    result = ScheduleActionResult(
        schedule_time=timestamp(action.nominal_ns),
        actual_time=timestamp(action.at_ns),
        start_workflow_status=action.status,  # pyright: ignore[reportArgumentType] - the enum's number
    )
    result.start_workflow_result.workflow_id = action.workflow_id
    result.start_workflow_result.run_id = action.run_id
    return result


def _entry(schedule_id: str, machine: Machine, now_ns: int) -> ScheduleListEntry:
    state, schedule = machine.state, machine.schedule
    info = ScheduleListInfo(
        spec=schedule.spec,
        workflow_type=schedule.action.start_workflow.workflow_type,
        notes=schedule.state.notes,
        paused=schedule.state.paused,
        recent_actions=[_result(action) for action in state.recent[-_RECENT_LISTED:]],
        future_action_times=[timestamp(at_ns) for at_ns in machine.future_times(now_ns, _FUTURE_LISTED)],
    )
    info.spec.timezone_data = b""
    return ScheduleListEntry(
        schedule_id=schedule_id,
        memo=Memo.FromString(state.memo),
        search_attributes=SearchAttributes.FromString(state.search_attributes) if state.search_attributes else None,
        info=info,
    )
