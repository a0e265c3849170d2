"""Times as commands tell them: nanoseconds since the epoch in JSON, as they have been from the beginning."""

from __future__ import annotations

from datetime import datetime
from typing import overload

from perdure.sdk.moments import ns_of


@overload
def in_ns(at: datetime) -> int: ...
@overload
def in_ns(at: datetime | None) -> int | None: ...
def in_ns(at: datetime | None) -> int | None:
    """Nanoseconds since the epoch; None of None."""
    return None if at is None else ns_of(at)
