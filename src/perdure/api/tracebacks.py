"""A failure of the wire as Python would print the exception: its causes first, each with its stack trace."""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure

_SHOWN_MAX = 10
"""Failures of a chain that are shown, the outermost ones."""
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"


def traceback_text(failure: Failure) -> str:
    """As many lines as it takes, without a newline at the end; "" when no failure of the chain says where it was."""
    parts: list[str] = []
    link: Failure | None = failure
    said = False
    while link is not None and len(parts) < _SHOWN_MAX:
        said = said or bool(link.stack_trace)
        parts.append(_one(link))
        link = link.cause if link.HasField("cause") else None
    return _CAUSED.join(reversed(parts)).rstrip("\n") if said else ""


def _one(failure: Failure) -> str:
    kind = failure.application_failure_info.type if failure.HasField("application_failure_info") else ""
    last = ": ".join(part for part in (kind, failure.message) if part)
    if not failure.stack_trace:
        return f"{last}\n"
    return f"Traceback (most recent call last):\n{failure.stack_trace.rstrip()}\n{last}\n"
