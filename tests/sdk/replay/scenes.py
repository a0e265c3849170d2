"""More workflows whose histories were recorded on a real server: failure, cancellation, time-outs, races."""

from __future__ import annotations

import asyncio

from perdure.sdk.activity import activity
from perdure.sdk.errors import ActivityError, ApplicationError, CancelledError
from perdure.sdk.options import Retry
from perdure.sdk.workflow.workflow import ActivityHandle, call, start, workflow


@activity(start_to_close_timeout="60s", heartbeat_timeout="5s")
def until_cancelled() -> str:
    return "CANCEL"


@activity(start_to_close_timeout="10s", retry=Retry(maximum_attempts=2, initial_interval="10ms"))
def decline(order: str) -> str:
    raise ApplicationError(f"{order} declined", type="CardDeclined", details=[42])


@activity(start_to_close_timeout="500ms", retry=Retry(maximum_attempts=1))
async def too_slow() -> None:
    await asyncio.sleep(2)


@activity(start_to_close_timeout="30s")
def undo(order: str) -> str:
    return f"undone {order}"


@workflow
def fails_sync(order: str) -> str:
    try:
        call(decline, order)
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError):
            call(undo, order)
        raise ApplicationError("refused", type="Refused") from error
    return "paid"


@workflow
async def fails_async(order: str) -> str:
    try:
        await start(decline, order)
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError):
            await start(undo, order)
        raise ApplicationError("refused", type="Refused") from error
    return "paid"


@workflow
def cancelled_sync(order: str) -> str:
    try:
        call(until_cancelled.options(cancellation="wait"))
    except CancelledError:
        workflow.sleep("10ms")
        call(undo, order)
        raise
    return "not cancelled"


@workflow
async def cancelled_async(order: str) -> str:
    try:
        await start(until_cancelled.options(cancellation="wait"))
    except asyncio.CancelledError:
        await asyncio.sleep(0.01)
        await start(undo, order)
        raise
    return "not cancelled"


@workflow
def cancelled_at_once_sync(order: str) -> str:
    try:
        call(until_cancelled)
    finally:
        call(undo, order)
    return "not cancelled"


@workflow
async def cancelled_at_once_async(order: str) -> str:
    try:
        await start(until_cancelled)
    finally:
        await start(undo, order)
    return "not cancelled"


@workflow
def races_sync(order: str) -> list[str]:
    seen: list[str] = []
    slow = start(until_cancelled)
    quick: ActivityHandle[str] = start(undo, order)
    first = workflow.wait_any(slow, quick, timeout="1h")
    seen.append("quick first" if first == [quick] else "slow first")
    seen.append(str(workflow.wait_condition(slow.done, timeout="100ms")))
    slow.cancel()
    seen.append(str(slow.done()))
    try:
        call(too_slow)
    except ActivityError as error:
        seen.append(type(error.cause).__name__)
    return seen


@workflow
async def races_async(order: str) -> list[str]:
    seen: list[str] = []
    slow = start(until_cancelled)
    quick: ActivityHandle[str] = start(undo, order)
    done, _ = await asyncio.wait({slow, quick}, timeout=3600, return_when=asyncio.FIRST_COMPLETED)
    seen.append("quick first" if done == {quick} else "slow first")
    try:
        async with asyncio.timeout(0.1):
            await slow
    except TimeoutError:
        seen.append(f"timeout, cancelled: {slow.cancelled()}")
    try:
        await asyncio.wait_for(start(too_slow), 3600)
    except ActivityError as error:
        seen.append(type(error.cause).__name__)

    queue: asyncio.Queue[str] = asyncio.Queue()
    event = asyncio.Event()

    async def producer() -> None:
        for number in range(3):
            await queue.put(await start(undo, str(number)))
            await asyncio.sleep(0.01)
        event.set()

    task = asyncio.create_task(producer())
    for _ in range(3):
        seen.append(await queue.get())
    await event.wait()
    await task
    return seen


ACTIVITIES = {a.name: a for a in (until_cancelled, decline, too_slow, undo)}
