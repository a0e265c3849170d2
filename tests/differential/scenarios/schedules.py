"""Schedules: made, described, triggered, paused, updated, deleted; what they start."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)

from tests.differential.stage import Stage


@workflow.defn
class Job:
    @workflow.run
    async def run(self, word: str) -> str:
        return word


def _schedule(stage: Stage, **state: Any) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(Job.run, "work", id=stage.name("job"), task_queue=stage.task_queue),
        spec=ScheduleSpec(
            calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(3)], comment="at night")],
            intervals=[ScheduleIntervalSpec(every=timedelta(days=40))],
            cron_expressions=["0 12 * * MON-FRI"],
            time_zone_name="Europe/Berlin",
        ),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ONE, catchup_window=timedelta(minutes=5)),
        state=ScheduleState(note="a note", **state),
    )


async def made_and_described(stage: Stage) -> Any:
    handle = await stage.client.create_schedule(stage.name("schedule"), _schedule(stage, paused=True), memo={"a": 1})
    answers = [(await handle.describe()).raw_description]
    answers[0].ClearField("conflict_token")
    answers[0].info.ClearField("future_action_times")
    again = await stage.answer(stage.client.create_schedule(handle.id, _schedule(stage)))
    await handle.delete()
    return [*answers, str(again), await _code(stage, handle.describe()), await _code(stage, handle.delete())]


async def _code(stage: Stage, asked: Any) -> str:
    """The code of the refusal; Temporal's text speaks of the workflow that a schedule is made of there."""
    return str(await stage.answer(asked)).partition(":")[0]


async def triggered(stage: Stage) -> Any:
    async with stage.worker([Job]):
        handle = await stage.client.create_schedule(stage.name("schedule"), _schedule(stage, paused=True))
        await handle.trigger()

        async def look() -> Any:
            return await handle.describe()

        described = await stage.until(look, lambda seen: seen.info.recent_actions)
        started = described.info.recent_actions[0].action
        job = stage.client.get_workflow_handle(started.workflow_id, run_id=started.first_execution_run_id)
        outcome = await stage.outcome(job)
        events = [event.event_type async for event in job.fetch_history_events()]
        described = await stage.until(look, lambda seen: not seen.info.running_actions)
        await handle.delete()
        return [outcome, events, started.workflow_id, described.info.num_actions]


async def triggered_as_it_is_made(stage: Stage) -> Any:
    """A paused one too: what is asked for by hand is done."""
    answers: list[Any] = []
    async with stage.worker([Job]):
        for paused in (True, False):
            handle = await stage.client.create_schedule(
                stage.name(f"schedule-{paused}"), _schedule(stage, paused=paused), trigger_immediately=True
            )
            described = await handle.describe()
            answers.append([described.info.num_actions, described.schedule.state.paused])
            await handle.delete()
    return answers


async def paused_and_updated(stage: Stage) -> Any:
    handle = await stage.client.create_schedule(stage.name("schedule"), _schedule(stage))
    await handle.pause(note="enough")
    paused = (await handle.describe()).schedule.state
    await handle.unpause(note="go on")
    unpaused = (await handle.describe()).schedule.state

    def change(update: Any) -> ScheduleUpdate:
        schedule = update.description.schedule
        schedule.spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=2))])
        schedule.state.limited_actions, schedule.state.remaining_actions = True, 3
        return ScheduleUpdate(schedule)

    await handle.update(change)
    described = (await handle.describe()).schedule
    await handle.delete()
    return [str(paused), str(unpaused), str(described.spec), str(described.state)]


async def acts_by_itself(stage: Stage) -> Any:
    async with stage.worker([Job]):
        schedule = _schedule(stage, limited_actions=True, remaining_actions=1)
        schedule.spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=1))])
        handle = await stage.client.create_schedule(stage.name("schedule"), schedule)

        async def look() -> Any:
            return await handle.describe()

        described = await stage.until(look, lambda seen: seen.info.recent_actions and not seen.info.running_actions)
        await handle.delete()
        return [described.info.num_actions, described.schedule.state.remaining_actions]


async def unknown(stage: Stage) -> Any:
    handle = stage.client.get_schedule_handle(stage.name("unknown"))
    bad = _schedule(stage)
    bad.spec = ScheduleSpec(cron_expressions=["now and then"])
    return [
        await _code(stage, handle.describe()),
        await _code(stage, handle.trigger()),
        await _code(stage, handle.pause()),
        await _code(stage, handle.delete()),
        await stage.answer(stage.client.create_schedule(stage.name("bad"), bad)),
    ]
