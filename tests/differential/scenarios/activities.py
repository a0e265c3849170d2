"""Activities: results, retries, the four time-outs, heartbeats, cancellation, completion from elsewhere."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.workflow import ActivityCancellationType

from tests.differential.stage import Stage, explained

SECOND = timedelta(seconds=1)
ONCE = RetryPolicy(maximum_attempts=1)
QUICKLY = RetryPolicy(initial_interval=timedelta(milliseconds=50))


@activity.defn
async def double(number: int) -> int:
    return number * 2


@activity.defn
async def fails_at_first(times: int) -> int:
    attempt = activity.info().attempt
    if attempt <= times:
        raise ApplicationError(f"attempt {attempt}", {"attempt": attempt}, type="NotYet")
    return attempt


@activity.defn
async def fails_with(kind: str) -> None:
    if kind == "non-retryable":
        raise ApplicationError("declined", "card", 7, type="Declined", non_retryable=True)
    if kind == "delay":
        if activity.info().attempt == 1:
            raise ApplicationError("busy", type="Busy", next_retry_delay=timedelta(milliseconds=20))
        return
    if kind == "benign":
        raise ApplicationError("nothing new", type="Benign", category=ApplicationErrorCategory.BENIGN)
    try:
        raise ValueError("the inner one")
    except ValueError as error:
        raise RuntimeError("the outer one") from error


@activity.defn
async def never_ends() -> None:
    await asyncio.Event().wait()


@activity.defn
async def goes_silent() -> Any:
    if activity.info().attempt > 1:
        return list(activity.info().heartbeat_details)
    activity.heartbeat("half", 50)
    await asyncio.Event().wait()


@activity.defn
async def stops_when_told() -> None:
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError as error:
        raise error


@activity.defn
async def finishes_although_told() -> str:
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return "done anyway"


@activity.defn
async def completed_elsewhere() -> None:
    activity.raise_complete_async()


ALL = [
    double, fails_at_first, fails_with, never_ends, goes_silent,
    stops_when_told, finishes_although_told, completed_elsewhere,
]  # fmt: skip


@workflow.defn
class Calls:
    """Runs one activity with the given options, and says what became of it."""

    @workflow.run
    async def run(self, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
        return await workflow.execute_activity(name, args=arguments, **_options(options))


def _options(plain: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"start_to_close_timeout": timedelta(seconds=30)}
    for key, value in plain.items():
        if key.endswith(("timeout", "interval")):
            options[key] = None if value is None else timedelta(seconds=value)
        elif key == "attempts":
            options["retry_policy"] = RetryPolicy(
                maximum_attempts=value, initial_interval=timedelta(milliseconds=50), non_retryable_error_types=["Fatal"]
            )
        else:
            options[key] = value
    return options


async def _call(stage: Stage, name: str, *arguments: Any, **options: Any) -> Any:
    async with stage.worker([Calls], ALL):
        return [await stage.run(Calls.run, name, list(arguments), options)]


async def completes(stage: Stage) -> Any:
    return await _call(stage, "double", 21)


async def retried_until_done(stage: Stage) -> Any:
    return await _call(stage, "fails_at_first", 2, attempts=0)


async def retried_until_exhausted(stage: Stage) -> Any:
    return await _call(stage, "fails_at_first", 9, attempts=2)


async def fails_for_good(stage: Stage) -> Any:
    return await _call(stage, "fails_with", "non-retryable")


async def fails_benignly(stage: Stage) -> Any:
    return await _call(stage, "fails_with", "benign", attempts=1)


async def fails_with_a_cause(stage: Stage) -> Any:
    return await _call(stage, "fails_with", "cause", attempts=1)


async def says_when_to_retry(stage: Stage) -> Any:
    return await _call(stage, "fails_with", "delay")


async def nobody_knows_its_type(stage: Stage) -> Any:
    return await _call(stage, "unheard", attempts=1)


async def too_slow(stage: Stage) -> Any:
    return await _call(stage, "never_ends", start_to_close_timeout=1, attempts=1)


async def too_slow_twice(stage: Stage) -> Any:
    return await _call(stage, "never_ends", start_to_close_timeout=1, attempts=2)


async def never_started(stage: Stage) -> Any:
    return await _call(stage, "double", 1, schedule_to_start_timeout=1, task_queue=stage.name("nobody"))


async def whole_time_is_over_while_it_runs(stage: Stage) -> Any:
    return await _call(stage, "never_ends", start_to_close_timeout=None, schedule_to_close_timeout=1)


async def no_time_for_another_attempt(stage: Stage) -> Any:
    async with stage.worker([Retries], ALL):
        return [await stage.run(Retries.run)]


@workflow.defn
class Retries:
    @workflow.run
    async def run(self) -> None:
        policy = RetryPolicy(initial_interval=timedelta(seconds=30))
        await workflow.execute_activity(
            fails_at_first, 5, schedule_to_close_timeout=timedelta(seconds=10), retry_policy=policy
        )


async def goes_silent_and_resumes(stage: Stage) -> Any:
    return await _call(stage, "goes_silent", heartbeat_timeout=1, attempts=2)


async def goes_silent_for_good(stage: Stage) -> Any:
    return await _call(stage, "goes_silent", heartbeat_timeout=1, attempts=1)


async def has_a_summary_a_name_and_a_priority(stage: Stage) -> Any:
    async with stage.worker([Summarised], ALL):
        return [await stage.run(Summarised.run)]


@workflow.defn
class Summarised:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(
            double,
            3,
            activity_id="doubling",
            start_to_close_timeout=SECOND * 5,
            summary="doubles",
            priority=Priority(priority_key=1, fairness_key="ada"),
        )


async def on_another_queue(stage: Stage) -> Any:
    other = stage.name("other")
    async with stage.worker([], ALL, task_queue=other):
        return await _call(stage, "double", 4, task_queue=other)


async def one_after_another(stage: Stage) -> Any:
    async with stage.worker([Chain], ALL):
        return [await stage.run(Chain.run, 3)]


@workflow.defn
class Chain:
    @workflow.run
    async def run(self, count: int) -> int:
        number = 1
        for _ in range(count):
            number = await workflow.execute_activity(double, number, start_to_close_timeout=SECOND * 30)
        return number


async def one_after_another_without_sticky(stage: Stage) -> Any:
    async with stage.worker([Chain], ALL, max_cached_workflows=0):
        return [await stage.run(Chain.run, 2)]


@workflow.defn
class Cancels:
    """Starts an activity, and cancels it when it is told to."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self, name: str, kind: str, options: dict[str, Any]) -> str:
        handle = workflow.start_activity(
            name, cancellation_type=ActivityCancellationType[kind], **_options({"heartbeat_timeout": 20, **options})
        )
        await workflow.wait_condition(lambda: self.told)
        handle.cancel()
        try:
            return str(await handle)
        except BaseException as error:
            return explained(error)

    @workflow.signal
    def cancel(self) -> None:
        self.told = True


async def _cancel(stage: Stage, name: str, kind: str, **options: Any) -> Any:
    async with stage.worker([Cancels], ALL, max_heartbeat_throttle_interval=timedelta(milliseconds=100)):
        handle = await stage.start(Cancels.run, name, kind, options)
        if "task_queue" in options:
            await stage.events(handle, "ACTIVITY_TASK_SCHEDULED")
        else:
            await stage.until(
                lambda: stage.describe(handle.id),
                lambda seen: [a for a in seen.pending_activities if a.state == 2 and a.HasField("last_heartbeat_time")],
            )
        await handle.signal(Cancels.cancel)
        return [await stage.outcome(handle)]


async def cancelled_and_not_waited_for(stage: Stage) -> Any:
    return await _cancel(stage, "stops_when_told", "TRY_CANCEL")


async def cancelled_and_waited_for(stage: Stage) -> Any:
    return await _cancel(stage, "stops_when_told", "WAIT_CANCELLATION_COMPLETED")


async def cancelled_and_finishes_anyway(stage: Stage) -> Any:
    return await _cancel(stage, "finishes_although_told", "WAIT_CANCELLATION_COMPLETED")


async def cancelled_and_abandoned(stage: Stage) -> Any:
    return await _cancel(stage, "stops_when_told", "ABANDON")


async def cancelled_before_anybody_started_it(stage: Stage) -> Any:
    return await _cancel(stage, "double", "WAIT_CANCELLATION_COMPLETED", task_queue=stage.name("nobody"))


async def _elsewhere(stage: Stage) -> Any:
    handle = await stage.start(Calls.run, "completed_elsewhere", [], {"activity_id": "it"} | {"attempts": 1})
    await stage.until(
        lambda: stage.describe(handle.id), lambda seen: [a for a in seen.pending_activities if a.state == 2]
    )
    return handle


async def completed_by_id(stage: Stage) -> Any:
    async with stage.worker([Calls], ALL):
        handle = await _elsewhere(stage)
        it = stage.client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="it")
        await it.heartbeat("so far")
        described = await stage.describe(handle.id)
        await it.complete("from elsewhere")
        return [
            described.pending_activities[0].heartbeat_details,
            await stage.outcome(handle),
            await stage.answer(it.complete("again")),
            await stage.answer(it.heartbeat("again")),
        ]


async def failed_by_id(stage: Stage) -> Any:
    async with stage.worker([Calls], ALL):
        handle = await _elsewhere(stage)
        it = stage.client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="it")
        await it.fail(ApplicationError("from elsewhere", type="Elsewhere"), last_heartbeat_details=[1])
        return [await stage.outcome(handle)]


async def reported_cancelled_by_id_without_a_request(stage: Stage) -> Any:
    async with stage.worker([Calls], ALL):
        handle = await _elsewhere(stage)
        it = stage.client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="it")
        answer = await stage.answer(it.report_cancellation())
        await it.complete(1)
        return [answer, await stage.outcome(handle)]


async def unknown_by_id(stage: Stage) -> Any:
    async with stage.worker([Calls], ALL):
        handle = await _elsewhere(stage)
        other = stage.client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="other")
        nobody = stage.client.get_async_activity_handle(workflow_id=stage.name("none"), run_id=None, activity_id="it")
        answers = [await stage.answer(other.complete(1)), await stage.answer(nobody.complete(1))]
        answers += [await stage.answer(other.heartbeat()), await stage.answer(nobody.fail(ValueError("x")))]
        forged = stage.client.get_async_activity_handle(task_token=b"no token")
        answers += [await stage.answer(forged.complete(1)), await stage.answer(forged.heartbeat())]
        await handle.terminate()
        return answers


async def pending_ones_are_described(stage: Stage) -> Any:
    async with stage.worker([Calls], ALL):
        handle = await stage.start(Calls.run, "fails_at_first", [9], {"schedule_to_close_timeout": 60, "summary": "x"})
        described = await stage.until(
            lambda: stage.describe(handle.id),
            lambda seen: [a for a in seen.pending_activities if a.attempt == 2 and a.state == 1],
        )
        await handle.terminate("enough")
        return list(described.pending_activities)


async def several_time_outs_are_filled_in(stage: Stage) -> Any:
    async with stage.worker([TimeOuts], ALL):
        return [await stage.run(TimeOuts.run, execution_timeout=timedelta(seconds=100))]


@workflow.defn
class TimeOuts:
    @workflow.run
    async def run(self) -> None:
        hour = timedelta(hours=1)
        await workflow.execute_activity(double, 1, schedule_to_close_timeout=SECOND * 20)
        await workflow.execute_activity(double, 1, start_to_close_timeout=SECOND * 20)
        await workflow.execute_activity(
            double, 1, start_to_close_timeout=hour, heartbeat_timeout=hour * 2, schedule_to_start_timeout=hour * 3
        )


@workflow.defn
class Local:
    @workflow.run
    async def run(self, name: str, arguments: list[Any]) -> Any:
        return await workflow.execute_local_activity(
            name,
            args=arguments,
            schedule_to_close_timeout=SECOND * 50,
            retry_policy=_options({"attempts": 2})["retry_policy"],
        )


async def local(stage: Stage) -> Any:
    async with stage.worker([Local], ALL):
        return [await stage.run(Local.run, "double", [4])]


async def local_and_retried(stage: Stage) -> Any:
    async with stage.worker([Local], ALL):
        return [await stage.run(Local.run, "fails_at_first", [1])]


async def local_and_failed(stage: Stage) -> Any:
    async with stage.worker([Local], ALL):
        return [await stage.run(Local.run, "fails_with", ["non-retryable"])]
