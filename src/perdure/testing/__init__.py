"""Testing aids: an engine whose time skips, activities replaced by name, histories replayed against code."""

from perdure.sdk.replay.checking import HistoryFormatError, ReplayProblem, ReplayReport, format_history, parse_history
from perdure.testing.bugs import EndlessRetriesError, WorkflowTaskFailedError
from perdure.testing.engine import AsyncTestEngine, TestEngine, virtual_time
from perdure.testing.mocks import ActivityMock
from perdure.testing.replays import assert_replays
from perdure.testing.virtual_time import DeadlockError, VirtualClock, VirtualTimeLoop, abandon, run_virtual

__all__ = [
    "ActivityMock",
    "AsyncTestEngine",
    "DeadlockError",
    "EndlessRetriesError",
    "HistoryFormatError",
    "ReplayProblem",
    "ReplayReport",
    "TestEngine",
    "VirtualClock",
    "VirtualTimeLoop",
    "WorkflowTaskFailedError",
    "abandon",
    "assert_replays",
    "format_history",
    "parse_history",
    "run_virtual",
    "virtual_time",
]
