"""`assert_replays`: the test that keeps a change of workflow code from breaking runs that are under way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from temporalio.api.history.v1 import History, HistoryEvent

from perdure.sdk.convert import Converter
from perdure.sdk.interceptors import Interceptor, checked_interceptors
from perdure.sdk.option_names import lists_options
from perdure.sdk.replay.checking import ReplayChecker, Workflows, parse_history
from perdure.sdk.workflow.outbound import composer

AnyHistory = History | Iterable[HistoryEvent] | Path | str | bytes
"""Events, the path of a file (as a Path), or the content of one: Temporal's JSON or a serialised History."""


@lists_options
def assert_replays(
    history: AnyHistory,
    workflows: Workflows = None,
    *,
    converter: Converter | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> None:
    """Replay a history against the code.

    Args:
        history: see `AnyHistory`; `engine.get(id).history()` gives one, `perdure workflow export` writes one.
        workflows: the code: workflows, modules of them; default everything decorated in this process.
        converter: when payloads go through a codec.
        interceptors: those that the engine of production has.

    Raises:
        AssertionError: the code does something else than the history says, with event, command and line.
        HistoryFormatError: it is no whole history.
        UnknownTypeError: the workflow type is not among the code given.
    """
    checker = ReplayChecker(workflows, converter, compose=composer(checked_interceptors(interceptors)))
    problem = checker.check(events_of(history))
    for name in checker.report.unknown:
        checker.require(name)
    if problem is not None:
        raise AssertionError(str(problem))


def events_of(history: AnyHistory) -> list[HistoryEvent]:
    """The events, from whatever holds them. Raises HistoryFormatError, OSError."""
    if isinstance(history, History):
        return list(history.events)
    if isinstance(history, Path):
        return parse_history(history.read_bytes())
    if isinstance(history, (str, bytes)):
        return parse_history(history)
    return list(history)
