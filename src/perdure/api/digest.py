"""An event in a line, for people: what happened, to what, and the word that matters.

    7  ActivityTaskCompleted  ChargeCard  → {"charge_id":1}

Used wherever histories are shown (command line, demo, UI). Payloads are shown as they are on the wire, never decoded
into anybody's types: a history can be read where its code is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from perdure.api.times import NS_PER_SECOND, duration_ns, timestamp_ns


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event for people. `subject` is the activity, timer or workflow type it is about, "" when about none."""

    event_id: int
    at_ns: int
    name: str
    """As Temporal's tools print it: `ActivityTaskScheduled`."""
    subject: str
    detail: str


def event_name(event_type: int) -> str:
    """`ActivityTaskScheduled` of EVENT_TYPE_ACTIVITY_TASK_SCHEDULED."""
    return _camel(_name(EventType, event_type), "EVENT_TYPE_")


def status_name(status: int) -> str:
    """`RUNNING` of WORKFLOW_EXECUTION_STATUS_RUNNING."""
    return _name(WorkflowExecutionStatus, status).removeprefix("WORKFLOW_EXECUTION_STATUS_")


def _name(kind: Any, number: int) -> str:
    """Of a member of an enum of the API; the number itself, of one that a later version has."""
    return kind.Name(number) if number in kind.values() else str(number)


def _camel(name: str, prefix: str) -> str:
    return "".join(part.capitalize() for part in name.removeprefix(prefix).split("_"))


def digest(events: Sequence[HistoryEvent]) -> list[EventLine]:
    """A line per event, in order. `events` should begin with the history's first, so that every name is known."""
    subjects: dict[int, str] = {}
    lines: list[EventLine] = []
    for event in events:
        attributes = getattr(event, event.WhichOneof("attributes") or "", None)
        subject = _subject(attributes, subjects)
        if subject:
            subjects[event.event_id] = subject
        detail = _detail(attributes)
        lines.append(
            EventLine(event.event_id, timestamp_ns(event.event_time), event_name(event.event_type), subject, detail)
        )
    return lines


def _subject(attributes: object, subjects: dict[int, str]) -> str:
    for field in ("activity_type", "workflow_type"):
        named = getattr(attributes, field, None)
        if named is not None:
            return named.name
    for field in ("marker_name", "timer_id", "signal_name"):
        name = getattr(attributes, field, "")
        if name:
            return f"timer {name}" if field == "timer_id" else name
    scheduled_event_id = getattr(attributes, "scheduled_event_id", 0)
    return subjects.get(scheduled_event_id, "")


def _detail(attributes: object) -> str:
    parts: list[str] = []
    for field in ("input", "result", "details"):
        payloads = getattr(attributes, field, None)
        if isinstance(payloads, Payloads) and payloads.payloads:
            arrow = "→ " if field == "result" else ""
            parts.append(arrow + payloads_text(payloads.payloads))
    failure = getattr(attributes, "failure", None)
    if isinstance(failure, Failure) and failure.ByteSize():
        parts.append(failure_text(failure))
    for field in ("reason", "cause"):
        text = getattr(attributes, field, "")
        if isinstance(text, str) and text:
            parts.append(text)
    attempt = getattr(attributes, "attempt", 0)
    if attempt > 1:
        parts.append(f"attempt {attempt}")
    if hasattr(attributes, "start_to_fire_timeout"):
        parts.append(duration_text(duration_ns(attributes.start_to_fire_timeout)))  # pyright: ignore
    return "  ".join(parts)


def failure_text(failure: Failure) -> str:
    """The failure and its causes: `activity ChargeCard failed: card_declined: card tok_1 was declined`."""
    texts: list[str] = []
    link: Failure | None = failure
    while link is not None:
        texts.append(_one_failure(link))
        link = link.cause if link.HasField("cause") else None
    return ": ".join(text for text in texts if text)


def _one_failure(failure: Failure) -> str:
    if failure.HasField("application_failure_info") and failure.application_failure_info.type:
        return f"{failure.application_failure_info.type}: {failure.message}"
    if failure.HasField("timeout_failure_info"):
        kind = _camel(_name(TimeoutType, failure.timeout_failure_info.timeout_type), "TIMEOUT_TYPE_")
        return f"{failure.message} ({kind})"
    return failure.message


def payloads_text(payloads: Iterable[Payload]) -> str:
    """The payloads as text, comma separated: JSON as it is, anything else by encoding and size."""
    return ", ".join(_payload_text(payload) for payload in payloads)


def _payload_text(payload: Payload) -> str:
    encoding = payload.metadata.get("encoding", b"").decode("ascii", "replace")
    if encoding == "binary/null":
        return "null"
    if encoding.startswith("json/"):
        return payload.data.decode("utf-8", "replace")
    return f"<{encoding or 'no encoding'}, {len(payload.data)} bytes>"


def duration_text(ns: int) -> str:
    """The largest two units: `30d`, `1h30m`, `2.5s`, `300ms`."""
    return "".join(f"{number}{unit}" for number, unit in _largest_units(ns))


def duration_words(ns: int) -> str:
    """The same in a sentence: `30 d`, `1 h 30 min`, `2.5 s`, `300 ms`."""
    return " ".join(f"{number} {'min' if unit == 'm' else unit}" for number, unit in _largest_units(ns))


def _largest_units(ns: int) -> list[tuple[str, str]]:
    if ns < 60 * NS_PER_SECOND:
        return [(f"{ns / 1_000_000:.3g}", "ms") if ns < NS_PER_SECOND else (f"{ns / NS_PER_SECOND:.3g}", "s")]
    seconds = ns // NS_PER_SECOND
    parts: list[tuple[str, str]] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append((str(count), unit))
    return parts[:2]
