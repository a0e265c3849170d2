"""What people are told of a step, beside its name: a summary of one line, and details of several.

They travel as Temporal's `UserMetadata`, with the command or the request that begins the step, and its event keeps
them: UIs show them in the history and beside a run. They are payloads, so a codec hides them where it hides the
arguments. Nothing depends on them: a replay whose code says something else goes on, and what history has stays.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.sdk.v1 import UserMetadata

from perdure.sdk.convert.converter import Converter
from perdure.sdk.texts import check_text


def put_metadata(message: Any, converter: Converter, summary: str | None, details: str | None = None) -> None:
    """Write them into a command or request, nothing for none. Raises PayloadError, TypeError, ValueError."""
    if summary:
        check_text(summary, "summary")
        message.user_metadata.summary.CopyFrom(converter.to_payload(summary, "the summary"))
    if details:
        check_text(details, "details")
        message.user_metadata.details.CopyFrom(converter.to_payload(details, "the details"))


def metadata_of(metadata: UserMetadata, converter: Converter) -> tuple[str, str]:
    """Summary and details, "" for none. Raises PayloadError."""
    summary = converter.from_payload(metadata.summary, what="the summary") if metadata.HasField("summary") else ""
    details = converter.from_payload(metadata.details, what="the details") if metadata.HasField("details") else ""
    return str(summary), str(details)
