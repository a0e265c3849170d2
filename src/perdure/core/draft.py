"""What the judges of commands share: the draft of the state they judge against, the fault they find, small checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from temporalio.api.common.v1 import SearchAttributes

from perdure.api import enums
from perdure.api.bounds import cap
from perdure.api.times import duration_ns
from perdure.core import search_attributes
from perdure.core.bad_command import BadCommand
from perdure.core.limits import Limits
from perdure.core.schedule.calendars import Zone
from perdure.core.state import Execution

if TYPE_CHECKING:
    from perdure.core.update import Inbox


class Draft(msgspec.Struct, eq=False):
    """What the commands judged so far would have changed."""

    execution: Execution
    limits: Limits
    find_zone: Callable[[str], Zone]
    """Of `Context`, and so is the next."""
    attribute_type: Callable[[str, str, int], int] | None
    inbox: Inbox | None
    """The protocol messages of this answer, None when it has none."""
    activity_ids: set[str] = set()
    started_timers: set[str] = set()
    canceled_timers: set[str] = set()
    canceled_activities: set[int] = set()
    started_children: set[str] = set()
    """Workflow ids."""
    memo_entries: set[str] = set()
    """Names that the memo does not have yet."""
    children: int = 0
    externals: int = 0
    closed: bool = False


def check_id(draft: Draft, cause: enums.WorkflowTaskFailedCause, name: str, value: str) -> None:
    """Raises BadCommand when an id is missing or too long."""
    if not value:
        raise BadCommand(cause, f"{name} is not set")
    if len(value) > draft.limits.id_length:
        raise BadCommand(cause, f"{name} exceeds length limit. Length={len(value)} Limit={draft.limits.id_length}")


def check_name(draft: Draft, cause: enums.WorkflowTaskFailedCause, name: str, value: str, command: str) -> None:
    """Raises BadCommand when a name is missing or too long, in the words for this kind of command."""
    if not value:
        raise BadCommand(cause, f"{name} is not set on {command}.")
    if len(value) > draft.limits.id_length:
        raise BadCommand(cause, f"{name} on {command} exceeds length limit. Length={len(value)}")


def check_blob(draft: Draft, cause: enums.WorkflowTaskFailedCause, name: str, value: Message) -> None:
    """Raises BadCommand, one that ends the run, for a payload that is too large."""
    size = value.ByteSize()
    if size > draft.limits.blob_bytes:
        why = f"{name} exceeds size limit. ({size} > {draft.limits.blob_bytes} bytes)"
        raise BadCommand(cause, why, closes=True)


def check_search_attributes(
    draft: Draft, cause: enums.WorkflowTaskFailedCause, attributes: SearchAttributes, namespace: str = ""
) -> None:
    """Write their types beside the values. Raises BadCommand when one cannot be set."""
    type_of = draft.attribute_type
    if type_of is None or not attributes.indexed_fields:
        return
    namespace = namespace or draft.execution.key.namespace
    try:
        search_attributes.check(attributes.indexed_fields, namespace, type_of)
    except search_attributes.BadSearchAttribute as bad:
        raise BadCommand(cause, str(bad)) from bad


def check_timeout(name: str, timeout: Duration, cause: enums.WorkflowTaskFailedCause) -> int:
    """Nanoseconds, a century at most. Raises BadCommand for a negative duration."""
    if not timeout.seconds and not timeout.nanos:  # most of them are not set
        return 0
    why = cap(timeout)
    if why:
        raise BadCommand(cause, f"invalid {name}: {why}")
    return duration_ns(timeout)
