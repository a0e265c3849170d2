"""The activities of all programs: one of each colour, behaving as their `Act` and the world say."""

from __future__ import annotations

import asyncio

from perdure.sdk.activity import activity
from perdure.sdk.declare.definitions import ActivityDefinition
from perdure.sdk.errors import ActivityError, ApplicationError
from perdure.sdk.options import Retry
from tests.simulation.programs import DAY, Act
from tests.simulation.world import stage

Performer = ActivityDefinition[[Act], str]

MAXIMUM_ATTEMPTS = 3
QUICK_START_TO_CLOSE = 20.0


class HangsLonger(Exception):
    """An attempt that should have been over long ago came to its end."""


def _misbehave(act: Act, execution: int) -> None:
    """Raise what this execution must end with, or return."""
    if act.gives_up:
        raise ApplicationError(f"{act.name} is down", type="Down")
    if execution <= act.hangs + act.fails:
        raise ApplicationError(f"{act.name} is not in the mood", type="Moody")
    if act.fatal:
        raise ApplicationError(f"{act.name} will never do", type="Refused", non_retryable=True)


def _begin(act: Act) -> tuple[str, int]:
    info = activity.info()
    return info.idempotency_key, stage.world.ask(
        info.run_id, info.activity_id, info.idempotency_key, act, is_local=info.is_local
    )


@activity(name="perform")
async def perform(act: Act) -> str:
    """On the loop: takes `act.seconds`, beats on the way, or hangs."""
    key, execution = _begin(act)
    if execution <= act.hangs:
        await asyncio.sleep(DAY)
        raise HangsLonger(act.name)
    beats = max(1, act.beats)
    for beat in range(beats):
        await asyncio.sleep(act.seconds / beats)
        if act.beats:
            activity.heartbeat(beat)
    _misbehave(act, execution)
    stage.world.effect(key, act)
    return f"{act.name} done"


@activity(name="perform_def")
def perform_def(act: Act) -> str:
    """In a thread, which the simulation runs inline: takes no time."""
    key, execution = _begin(act)
    for beat in range(act.beats):
        activity.heartbeat(beat)
    _misbehave(act, execution)
    stage.world.effect(key, act)
    return f"{act.name} done"


def performer(act: Act) -> Performer:
    """The activity definition for an act, with its time-outs and retry policy."""
    is_slow = act.seconds >= DAY
    heartbeat = None if not act.beats else 7200.0 if is_slow else 15.0
    attempts = MAXIMUM_ATTEMPTS if act.gives_up else 0
    return (perform if act.colour == "async" else perform_def).options(
        start_to_close_timeout=3 * DAY if is_slow else QUICK_START_TO_CLOSE,
        heartbeat_timeout=heartbeat,
        retry=Retry(initial_interval="1s", backoff_coefficient=2.0, maximum_interval="10s", maximum_attempts=attempts),
    )


def local_performer(act: Act, *, durable: bool) -> Performer:
    """The same for a local call."""
    return performer(act).options(local_retry_threshold=1.0 if durable else None)


def failed(act: Act, error: ActivityError) -> str:
    """What the program's result says of an activity that failed for good."""
    cause = error.root
    if isinstance(cause, ApplicationError) and cause.type == "Refused":
        return f"{act.name} refused"
    return f"{act.name} gave up"
