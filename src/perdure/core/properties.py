"""Memo and search attributes: what a run says of itself to people, tools and lists, and may change as it goes."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes

from perdure.api import enums
from perdure.core.fold import folds
from perdure.core.state import Execution


def begin(execution: Execution, started: WorkflowExecutionStartedEventAttributes) -> None:
    """What the run began with."""
    if started.HasField("memo"):
        _merge(execution.memo, started.memo.fields)
    if started.HasField("search_attributes"):
        _merge(execution.search_attributes, started.search_attributes.indexed_fields)


def _merge(known: dict[str, bytes], changes: Mapping[str, Payload]) -> None:
    for name in sorted(changes):
        payload = changes[name]
        if _is_nothing(payload):
            known.pop(name, None)
        else:
            known[name] = payload.SerializeToString(deterministic=True)


def _is_nothing(payload: Payload) -> bool:
    """A null, or an empty list, takes the entry out: as on Temporal's server."""
    encoding = payload.metadata.get("encoding", b"")
    return encoding == b"binary/null" or (encoding == b"json/plain" and payload.data in (b"[]", b"null"))


@folds(enums.UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
def _upserted(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.upsert_workflow_search_attributes_event_attributes
    _merge(execution.search_attributes, attributes.search_attributes.indexed_fields)


@folds(enums.WORKFLOW_PROPERTIES_MODIFIED)
def _modified(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_properties_modified_event_attributes
    _merge(execution.memo, attributes.upserted_memo.fields)
