"""The TestService in process: locks are counted, and sleeps go by the server's time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.testservice.v1 import (
    LockTimeSkippingRequest,
    SleepRequest,
    SleepUntilRequest,
    UnlockTimeSkippingRequest,
)

from perdure.api.errors import Rejected, StatusCode
from perdure.engine.engine import Engine
from perdure.engine.time_skipping import SkippingClock, TimeSkipper
from perdure.frontend.test_service import TestService
from perdure.stores.memory import MemoryStore
from tests.engine.stores import WrappedStore

YEAR_S = 365 * 86_400


@asynccontextmanager
async def served(store: Any = None) -> AsyncIterator[TestService]:
    clock = SkippingClock()
    engine = Engine(store or MemoryStore(), clock)
    skipper = TimeSkipper(engine, clock)
    await engine.start()
    await skipper.start()
    try:
        yield TestService(skipper)
    finally:
        await skipper.stop()
        await engine.stop()


async def now_s(service: TestService) -> float:
    time = (await service.get_current_time(Empty())).time
    return time.seconds + time.nanos / 1e9


async def test_locks_are_counted_and_there_is_one_at_the_start() -> None:
    async with served() as service:
        await service.lock_time_skipping(LockTimeSkippingRequest())
        await service.unlock_time_skipping(UnlockTimeSkippingRequest())
        await service.unlock_time_skipping(UnlockTimeSkippingRequest())
        with pytest.raises(Rejected, match="not locked") as refused:
            await service.unlock_time_skipping(UnlockTimeSkippingRequest())
        assert refused.value.code == StatusCode.FAILED_PRECONDITION
        before = await now_s(service)
        await service.sleep(SleepRequest(duration=Duration(seconds=YEAR_S)))
        assert await now_s(service) >= before + YEAR_S


async def test_a_sleep_with_unlock_locks_again() -> None:
    async with served() as service:
        before = await now_s(service)
        await service.unlock_time_skipping_with_sleep(SleepRequest(duration=Duration(seconds=YEAR_S)))
        after = await now_s(service)
        assert before + YEAR_S <= after < before + YEAR_S + 3_600
        await service.unlock_time_skipping(UnlockTimeSkippingRequest())  # the lock that it has put back
        await service.sleep_until(SleepUntilRequest(timestamp=Timestamp(seconds=int(after) + YEAR_S)))
        assert await now_s(service) >= int(after) + YEAR_S
        await service.sleep_until(SleepUntilRequest(timestamp=Timestamp(seconds=1)))  # past: at once


async def test_time_jumps_again_when_the_store_has_failed_for_a_moment() -> None:
    store, refusals = WrappedStore(), list[bool]()
    store.fails = lambda method: method == "next_wake_at_ns" and bool(refusals) and refusals.pop()
    async with served(store) as service:
        refusals += [True, True]
        before = await now_s(service)
        async with asyncio.timeout(60):
            await service.unlock_time_skipping_with_sleep(SleepRequest(duration=Duration(seconds=YEAR_S)))
        assert await now_s(service) >= before + YEAR_S
        assert not refusals


async def test_bad_requests_change_nothing() -> None:
    async with served() as service:
        with pytest.raises(Rejected, match="negative"):
            await service.unlock_time_skipping_with_sleep(SleepRequest(duration=Duration(seconds=-1)))
        with pytest.raises(Rejected, match="Timestamp"):
            await service.sleep_until(SleepUntilRequest())
        for request in (Duration(seconds=10**12), Duration(seconds=300 * YEAR_S)):
            with pytest.raises(Rejected, match="The time of this server ends at"):
                await service.unlock_time_skipping_with_sleep(SleepRequest(duration=request))
        with pytest.raises(Rejected, match="The time of this server ends at"):
            await service.sleep_until(SleepUntilRequest(timestamp=Timestamp(seconds=253_402_300_799)))
        with pytest.raises(Rejected, match="duration: duration has seconds and nanos with different signs"):
            await service.sleep(SleepRequest(duration=Duration(seconds=1, nanos=-1)))
        await service.unlock_time_skipping(UnlockTimeSkippingRequest())  # its one lock is still there
