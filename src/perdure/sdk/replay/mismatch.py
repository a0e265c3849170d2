"""The words of a NonDeterminismError: both sides, the event, the line of code, and what to do.

What an event is about, each kind of thing says of its own: it registers the words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.errors import NonDeterminismError
from perdure.sdk.replay.entry import Entry, Site, is_user_frame, site_text
from perdure.sdk.texts import class_name, text_of

Words = Callable[[HistoryEvent], str]
"""What an event is about, as a person would say it."""

_WORDS: dict[EventType.ValueType, Words] = {}

_ADVICE = (
    "The code changed since this run did that, or it depends on something that replay cannot repeat. Deploy the code "
    "that wrote this history, or let runs that began before the change keep their old path (workflow.patched). "
    "The run stays open and is tried again."
)


def names(*event_types: EventType.ValueType) -> Callable[[Words], Words]:
    """Register the words for these events."""

    def register(words: Words) -> Words:
        for event_type in event_types:
            assert event_type not in _WORDS, f"event type {event_type} is named twice"
            _WORDS[event_type] = words
        return words

    return register


def event_text(event: HistoryEvent) -> str:
    """`ActivityTaskScheduled, activity charge_payment (id 1)`."""
    parts = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").split("_")
    name = "".join(part.capitalize() for part in parts)
    words = _WORDS.get(event.event_type)
    return name if words is None else f"{name}, {words(event)}"


def disagreement(event: HistoryEvent | None, code: str, cause: BaseException | None = None) -> NonDeterminismError:
    """The error for one place where the code does not do what the event says."""
    where = "at its end" if event is None else f"at event {event.event_id}"
    history = "nothing more" if event is None else event_text(event)
    error = NonDeterminismError(
        f"history and code disagree {where}.\n  history: {history}\n  code:    {code}\n{_ADVICE}",
        event_id=None if event is None else event.event_id,
        history=history,
        code=code,
    )
    error.__cause__ = cause
    return error


def entry_text(entry: Entry, returned: Site | None = None) -> str:
    """A command and its line; `returned`: where the code returned, for a completion."""
    at = site_text(entry.place(returned))
    return f"{entry.describe()}, at {at}" if at else entry.describe()


def waiting_text(sites: Sequence[Site]) -> str:
    """What to say when the code asked for nothing more."""
    if not sites:
        return "nothing"
    return "nothing; it waits at " + " and at ".join(site_text(site) for site in sites[:3])


def raised_text(error: BaseException) -> str:
    """What to say when the code raised."""
    at = site_text(raised_at(error))
    return f"raised {class_name(error)}: {text_of(error)}" + (f", at {at}" if at else "")


def raised_at(error: BaseException) -> Site | None:
    """The innermost line of workflow code in an error's traceback, or in that of what caused it."""
    site: Site | None = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if is_user_frame(trace.tb_frame):
            site = trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next
    return site
