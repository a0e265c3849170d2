"""Histories and answers as plain data, without what differs from run to run: times, generated ids, sizes.

Ids stay recognisable: a workflow id loses the part that makes it unique, a run id becomes `order#1`.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

DROPPED = frozenset(
    {
        "event_time",
        "task_id",  # the server's own bookkeeping, as the next three
        "state_transition_count",
        "build_id_redirect_counter",
        "namespace_id",
        "parent_namespace_id",
        "parent_workflow_namespace_id",
        "history_size_bytes",
        "sdk_version",
        "history_size",
        "prev_auto_reset_points",  # by build id: left to versioning, see docs/differences.md
        "auto_reset_points",
        "worker_version",  # the deprecated stamps of workers without a deployment, as the next three
        "binary_checksum",
        "most_recent_worker_version_stamp",
        "BuildIds",
    }
)

UNORDERED = frozenset({"core_used_flags", "lang_used_flags"})
"""Lists that the SDK writes in any order."""

MAPS = frozenset({"indexed_fields", "fields", "details"})
"""Maps, which come in any order."""

MEASURED = frozenset({"first_workflow_task_backoff", "backoff_start_interval"})
"""Durations that depend on how fast a server was, rounded up to seconds."""

SPENT = frozenset({"execution_duration", "elapsed_time", "current_retry_interval"})
"""Durations that are how fast a server was."""

_NO_TIME = "0001-01-01T00:00:00Z"
"""What Temporal's server says of some times that are not set."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC)?")
_SECONDS = re.compile(r'\{"seconds":\d+,"nanos":\d+\}')
_ROW = re.compile(r"[0-9a-f-]{36}/\d+/[a-z]+")
_PORT = re.compile(r"\b\d+@[\w.-]+")


def _is_nothing(item: Any) -> bool:
    return item == _NO_TIME or (isinstance(item, Mapping) and len(item) > 0 and all(key in DROPPED for key in item))


class Names:
    """What stands for the generated ids of one playing."""

    def __init__(self, suffix: str, run_names: Mapping[str, str]) -> None:
        self._suffix = suffix
        self._run_names = run_names

    def text(self, value: str) -> str:
        value = value.replace(f"-{self._suffix}", "").replace("\u00a0", " ")  # some errors have either space, by chance
        value = _UUID.sub(lambda found: self._run_names.get(found.group(), "uuid"), value)
        value = value.replace("request-from-RespondWorkflowTaskCompleted", "uuid")  # depends on who was quicker
        value = _SECONDS.sub('"time"', _TIME.sub("time", value))
        return _PORT.sub("process", value)

    def plain(self, value: Any) -> Any:
        """JSON data; protobuf messages become their fields."""
        if isinstance(value, Message):
            value = MessageToDict(value, preserving_proto_field_name=True)
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self.plain(item) for item in value]
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self.text(str(value))

    def _mapping(self, value: Mapping[str, Any]) -> Any:
        if set(value) in ({"metadata", "data"}, {"metadata"}) and isinstance(value["metadata"], Mapping):
            return self._payload(value)
        kept = {key: item for key, item in value.items() if key not in DROPPED and not _is_nothing(item)}
        return {self.text(str(key)): self._field(key, item) for key, item in kept.items()}

    def _field(self, key: str, item: Any) -> Any:
        if key in MEASURED and isinstance(item, str):
            return f"{math.ceil(float(item.removesuffix('s')))}s"
        if key in SPENT and isinstance(item, str):
            return "some time"
        if key == "stack_trace" and isinstance(item, str):
            return "a stack trace"
        if key in UNORDERED:
            return sorted(item)
        if key in MAPS and isinstance(item, Mapping):
            item = dict(sorted(item.items()))
        if key == "request_id" and isinstance(item, str) and _ROW.fullmatch(item):
            return "uuid"  # ours names the row that carried it, Temporal's is chance
        return self.plain(item)

    def _payload(self, value: Mapping[str, Any]) -> Any:
        metadata = {name: _decoded(data) for name, data in value["metadata"].items()}
        encoding = metadata.pop("encoding", "")
        plain = {encoding: self.text(_decoded(value.get("data", "")))}
        return plain | ({"metadata": metadata} if metadata else {})


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode("utf-8", "backslashreplace")


def written(recording: Mapping[str, Any]) -> str:
    """A recording as JSON that is read in review: an event, and an answer, a line."""
    lines = ["{", ' "answers": ' + _lines(recording["answers"]) + ",", ' "histories": {']
    histories: Mapping[str, Sequence[Any]] = recording["histories"]
    blocks = [f"  {json.dumps(name)}: {_lines(events, '   ')}" for name, events in histories.items()]
    return "\n".join(lines) + "\n" + ",\n".join(blocks) + "\n }\n}\n"


def _lines(value: Any, indent: str = "  ") -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(indent + json.dumps(item, ensure_ascii=False) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
