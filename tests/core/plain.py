"""A history as plain data, without what differs from run to run: times, generated ids, sizes."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Outcome, Request

ORACLE = Path(__file__).parent / "oracle"

DROPPED = {
    "event_time",
    "task_id",  # the server's own bookkeeping
    "history_size_bytes",
    "workflow_execution_expiration_time",
    "request_id",
    "workflow_id",
    "original_execution_run_id",
    "first_execution_run_id",
    "build_id_redirect_counter",
    "prev_auto_reset_points",
    "namespace_id",
    "parent_workflow_namespace_id",
}

BASE64 = {"data", "encoding"}
"""Bytes of payloads, shown as text."""

MEASURED = {"first_workflow_task_backoff"}
"""Durations that depend on how fast a real server was, rounded up to seconds."""

_GENERATED = re.compile(r"-?[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\bid-\d+")


def plain_history(events: Sequence[HistoryEvent]) -> list[dict[str, Any]]:
    """One dict per event: its type and its attributes as JSON."""
    return [_plain(MessageToDict(event, preserving_proto_field_name=True)) for event in events]


def _ceiling(duration: str) -> str:
    return f"{math.ceil(float(duration.removesuffix('s')))}s"


def _text(data: Any) -> Any:
    return base64.b64decode(data).decode() if isinstance(data, str) else data


def plain_workflow_task(
    attempt: int,
    previous_started_event_id: int,
    started_event_id: int,
    tail: Sequence[HistoryEvent],
    messages: Sequence[Message] = (),
) -> dict[str, Any]:
    """What a worker learns with a workflow task; `tail`: the last events that it is sent."""
    told = {"messages": [_plain_message(message) for message in messages]} if messages else {}
    return told | {
        "attempt": attempt,
        "previous_started_event_id": previous_started_event_id,
        "started_event_id": started_event_id,
        "last_events": plain_history(tail[-2:]),
    }


def _plain_message(message: Message) -> dict[str, Any]:
    request = Request()
    assert message.body.Unpack(request)
    plain = MessageToDict(request, preserving_proto_field_name=True)
    return {"id": message.id, "event_id": message.event_id, "request": _plain(plain)}


def plain_update(stage: int, outcome: Outcome | None) -> str:
    """What becomes of an update that was answered."""
    if outcome is None:
        return f"stage {stage}"
    if outcome.HasField("failure"):
        return f"failure: {outcome.failure.application_failure_info.type}: {outcome.failure.message}"
    return f"success: {outcome.success.payloads[0].data.decode()}"


def plain_activity_task(attempt: int, heartbeat_details: Payloads) -> dict[str, Any]:
    """What a worker learns with an activity task beside what the Scheduled event says."""
    return {"attempt": attempt, "heartbeat_details": [payload.data.decode() for payload in heartbeat_details.payloads]}


def _field(key: str, value: Any) -> Any:
    if key in MEASURED:
        return _ceiling(value)
    return _plain(_text(value) if key in BASE64 else value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _field(key, item) for key, item in value.items() if key not in DROPPED}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return _GENERATED.sub("", value)
    return value
