"""Which schedules a query of ListSchedules and CountSchedules means."""

from __future__ import annotations

from collections.abc import Callable

from perdure.api.errors import Rejected, StatusCode
from perdure.core.schedule.machine import Machine
from perdure.engine.engine import Engine

Accepts = Callable[[str, Machine], bool]


def schedule_filter(engine: Engine, namespace: str, query: str) -> Accepts:
    """Raises Rejected UNIMPLEMENTED: queries on schedules are still to come."""
    if query.strip():
        raise Rejected(StatusCode.UNIMPLEMENTED, "Queries on schedules are not supported yet.")
    return _every


def _every(schedule_id: str, machine: Machine) -> bool:
    return True
