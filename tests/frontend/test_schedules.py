"""Schedules in lists: by Temporal's list filter, page by page; and what is kept beside them."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.operatorservice import v1 as operator
from temporalio.api.schedule.v1 import CalendarSpec
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.engine import Engine
from perdure.frontend import WorkflowService
from perdure.frontend.operator_service import OperatorService
from perdure.testing import run_virtual
from tests.engine.test_schedules import create_request, describe
from tests.engine.world import World, virtual

DAY_NS = 86_400 * 1_000_000_000


def payload(data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


async def three(engine: Engine) -> WorkflowService:
    """Schedules `one`, `two` (paused) and `two-b`, of which `two-b` is for the region north."""
    connection = WorkflowService(engine)
    await OperatorService(engine).add_search_attributes(
        operator.AddSearchAttributesRequest(namespace="default", search_attributes={"Region": 2})  # pyright: ignore
    )
    await connection.create_schedule(create_request("one"))
    await connection.create_schedule(create_request("two", paused=True))
    north = create_request("two-b")
    north.search_attributes.indexed_fields["Region"].CopyFrom(payload(b'"north"'))
    north.memo.fields["owner"].CopyFrom(payload(b'"finance"'))
    await connection.create_schedule(north)
    return connection


async def ids(connection: WorkflowService, query: str = "", **fields: Any) -> list[str]:
    request = service.ListSchedulesRequest(namespace="default", query=query, **fields)
    return [entry.schedule_id for entry in (await connection.list_schedules(request)).schedules]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["one", "two", "two-b"]),
        ("TemporalSchedulePaused = true", ["two"]),
        ("TemporalSchedulePaused = false AND ScheduleId STARTS_WITH 'two'", ["two-b"]),
        ("ScheduleId IN ('one', 'three') OR Region = 'north'", ["one", "two-b"]),
        ("NOT ScheduleId = 'one'", ["two", "two-b"]),
        ("Region IS NULL", ["one", "two"]),
    ],
)
def test_a_query_finds_schedules(query: str, expected: list[str]) -> None:
    async def life(world: World) -> None:
        async with world.engine() as engine:
            connection = await three(engine)
            assert await ids(connection, query) == expected
            counted = await connection.count_schedules(service.CountSchedulesRequest(namespace="default", query=query))
            assert counted.count == len(expected)

    run_virtual(lambda loop: life(World(loop)))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("WorkflowId = 'x'", 'invalid query filter for schedules: cannot filter on "WorkflowId"'),
        ("Foo = 1", "invalid query: invalid search attribute: Foo"),
        ("TemporalSchedulePaused = 'true'", "invalid value type for search attribute TemporalSchedulePaused"),
        ("ORDER BY ScheduleId", "'ORDER BY' clause"),
        ("bogus bogus", "invalid query: "),
        ("x" * 70_000, "it is longer than"),
    ],
)
def test_a_query_that_means_nothing_is_refused(query: str, text: str) -> None:
    async def life(world: World) -> None:
        async with world.engine() as engine:
            connection = await three(engine)
            with pytest.raises(Rejected, match=text) as refused:
                await ids(connection, query)
            assert refused.value.code is StatusCode.INVALID_ARGUMENT

    run_virtual(lambda loop: life(World(loop)))


@virtual
async def test_pages(world: World) -> None:
    async with world.engine() as engine:
        connection = await three(engine)
        request = service.ListSchedulesRequest(namespace="default", maximum_page_size=2)
        first = await connection.list_schedules(request)
        request.next_page_token = first.next_page_token
        second = await connection.list_schedules(request)
        assert [entry.schedule_id for entry in (*first.schedules, *second.schedules)] == ["one", "two", "two-b"]
        assert not second.next_page_token
        request.next_page_token = b"\xff"
        with pytest.raises(Rejected, match="Invalid NextPageToken"):
            await connection.list_schedules(request)


@virtual
async def test_an_entry_says_what_it_is_and_what_comes(world: World) -> None:
    async with world.engine() as engine:
        connection = await three(engine)
        listed = await connection.list_schedules(service.ListSchedulesRequest(namespace="default"))
        entry = listed.schedules[2]
        assert entry.memo.fields["owner"].data == b'"finance"'
        assert entry.search_attributes.indexed_fields["Region"].data == b'"north"'
        assert (entry.info.workflow_type.name, len(entry.info.future_action_times)) == ("bill", 5)
        assert [one.info.paused for one in listed.schedules] == [False, True, False]


@virtual
async def test_memo_and_search_attributes_are_replaced_when_an_update_names_them(world: World) -> None:
    async with world.engine() as engine:
        connection = await three(engine)
        schedule = (await describe(connection, "two-b")).schedule
        update = service.UpdateScheduleRequest(namespace="default", schedule_id="two-b", schedule=schedule)
        await connection.update_schedule(update)
        assert (await describe(connection, "two-b")).memo.fields["owner"].data == b'"finance"', "it was not named"
        update.memo.fields["team"].CopyFrom(payload(b'"billing"'))
        update.search_attributes.SetInParent()
        await connection.update_schedule(update)
        described = await describe(connection, "two-b")
        assert list(described.memo.fields) == ["team"]
        assert not described.search_attributes.indexed_fields


@virtual
async def test_a_search_attribute_that_nobody_registered_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for place in ("search_attributes", "schedule.action.start_workflow.search_attributes"):
            request = create_request()
            target: Any = request
            for step in place.split("."):
                target = getattr(target, step)
            target.indexed_fields["Nobody"].CopyFrom(payload(b'"x"'))
            with pytest.raises(Rejected, match="has no mapping defined for search attribute Nobody"):
                await connection.create_schedule(request)


@virtual
async def test_matching_times_of_a_schedule(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.create_schedule(create_request(every_s=1))
        request = service.ListScheduleMatchingTimesRequest(namespace="default", schedule_id="nightly")
        request.end_time.seconds = 3
        found = (await connection.list_schedule_matching_times(request)).start_time
        assert [at.seconds for at in found] == [1, 2, 3]
        request.end_time.seconds = 5000
        assert len((await connection.list_schedule_matching_times(request)).start_time) == 1000


@virtual
async def test_a_page_ends_with_its_bytes(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for number in range(5):
            request = create_request(f"s{number}")
            request.memo.fields["note"].data = b"x" * 900_000
            await connection.create_schedule(request)
        found: list[str] = []
        token, sizes = b"", list[int]()
        for _ in range(3):
            page = await connection.list_schedules(
                service.ListSchedulesRequest(namespace="default", next_page_token=token)
            )
            assert page.ByteSize() < 4 << 20
            sizes.append(len(page.schedules))
            found += [entry.schedule_id for entry in page.schedules]
            token = page.next_page_token
        assert (found, sizes, token) == ([f"s{number}" for number in range(5)], [2, 2, 1], b"")
        count = await connection.count_schedules(service.CountSchedulesRequest(namespace="default"))
        assert count.count == 5


@virtual
async def test_a_schedule_that_never_acts_costs_a_look_now_and_then(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = create_request("never")
        request.schedule.spec.ClearField("interval")
        request.schedule.spec.interval.add().interval.seconds = 1
        request.schedule.spec.exclude_calendar.extend(
            CalendarSpec(hour="*", minute="*", second=str(second)) for second in range(60)
        )
        await connection.create_schedule(request)
        described = await describe(connection, "never")
        assert list(described.info.future_action_times) == []
        [record] = await engine.store.records("schedule", "default")
        assert record.wake_at_ns is not None
        assert record.wake_at_ns > world.clock.now_ns() + 10 * DAY_NS
        asked = service.ListScheduleMatchingTimesRequest(namespace="default", schedule_id="never")
        asked.start_time.seconds = world.clock.now_ns() // 1_000_000_000
        asked.end_time.seconds = asked.start_time.seconds + 300 * 86_400
        assert list((await connection.list_schedule_matching_times(asked)).start_time) == []
        asked.end_time.seconds = 4_000_000_000
        with pytest.raises(Rejected, match="take long to find: 0 of them up to 20"):
            await connection.list_schedule_matching_times(asked)
