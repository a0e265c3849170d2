"""The fields of the wire that begin a workflow, whoever does: a client, a parent, a schedule.

Three messages have them under the same names: StartWorkflowExecutionRequest, the attributes of
StartChildWorkflowExecution, and a schedule's NewWorkflowExecutionInfo.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.sdk.convert import Converter
from perdure.sdk.declare.search_attributes import SearchAttributes, payloads_of
from perdure.sdk.options import Duration, Retry, checked_retry, duration_message, positive_duration
from perdure.sdk.texts import check_text


def put_timeouts(
    message: Any, execution_timeout: Duration | None, run_timeout: Duration | None, task_timeout: Duration | None
) -> None:
    """The time-outs of a workflow; None leaves one to the server. Raises TypeError, ValueError."""
    for field, duration, what in (
        ("workflow_execution_timeout", execution_timeout, "execution_timeout"),
        ("workflow_run_timeout", run_timeout, "run_timeout"),
        ("workflow_task_timeout", task_timeout, "task_timeout"),
    ):
        length_ns = positive_duration(duration, what)
        if length_ns is not None:
            getattr(message, field).CopyFrom(duration_message(length_ns))


def put_repetition(message: Any, retry: Retry | None, cron_schedule: str | None = None) -> None:
    """When it is run again. Raises TypeError, ValueError."""
    if retry is not None:
        message.retry_policy.CopyFrom(checked_retry(retry)._message)  # pyright: ignore[reportPrivateUsage] - no user's business
    if cron_schedule:
        check_text(cron_schedule, "cron_schedule")
        message.cron_schedule = cron_schedule


def put_notes(
    message: Any, converter: Converter, memo: Mapping[str, Any] | None, search_attributes: SearchAttributes | None
) -> None:
    """What is kept beside a run. Raises PayloadError."""
    for name, value in (memo or {}).items():
        message.memo.fields[name].CopyFrom(converter.to_payload(value, f"memo {name!r}"))
    for name, payload in payloads_of(search_attributes or {}).items():
        message.search_attributes.indexed_fields[name].CopyFrom(payload)
