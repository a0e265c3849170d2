"""What `engine.schedules` takes and gives: when a workflow starts by the clock, and what became of it."""

from perdure.sdk.client.schedule_times import (
    Calendar,
    Overlap,
    ScheduleDescription,
    ScheduledRun,
    ScheduleSummary,
)
from perdure.sdk.client.schedules import AsyncSchedules, Schedules
from perdure.sdk.errors import ScheduleAlreadyExistsError, ScheduleNotFoundError

__all__ = [
    "AsyncSchedules",
    "Calendar",
    "Overlap",
    "ScheduleAlreadyExistsError",
    "ScheduleDescription",
    "ScheduleNotFoundError",
    "ScheduleSummary",
    "ScheduledRun",
    "Schedules",
]
