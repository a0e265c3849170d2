"""The filter of ListWorkers: comparisons of a worker's properties, joined by AND.

TaskQueue = 'orders' AND SdkName != "temporal-go"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat

from perdure.frontend.edge import invalid

Condition = tuple[Callable[[WorkerHeartbeat], str], bool, str]
"""A property, whether it must be equal, and to what."""


_STATUSES: dict[int, str] = {
    number: name.removeprefix("WORKER_STATUS_").replace("_", "").lower() for name, number in WorkerStatus.items()
}
"""A worker of a later version may have one that is not among them."""


def _status(heartbeat: WorkerHeartbeat) -> str:
    return _STATUSES.get(heartbeat.status, str(heartbeat.status))


PROPERTIES: dict[str, Callable[[WorkerHeartbeat], str]] = {
    "WorkerInstanceKey": lambda beat: beat.worker_instance_key,
    "WorkerIdentity": lambda beat: beat.worker_identity,
    "HostName": lambda beat: beat.host_info.host_name,
    "TaskQueue": lambda beat: beat.task_queue,
    "DeploymentName": lambda beat: beat.deployment_version.deployment_name,
    "BuildId": lambda beat: beat.deployment_version.build_id,
    "SdkName": lambda beat: beat.sdk_name,
    "SdkVersion": lambda beat: beat.sdk_version,
    "Status": _status,
}

QUERY_LENGTH_MAX = 64 * 1024
CONDITIONS_MAX = 32
_COMPARISON = re.compile(r"""\s*`?(\w+)`?\s*(=|!=)\s*(?:'([^']*)'|"([^"]*)")\s*""")
_AND = re.compile(r"and\b", re.IGNORECASE)


def parse(query: str) -> Sequence[Condition]:
    """Raises Rejected INVALID_ARGUMENT that says where the filter is not understood."""
    if len(query) > QUERY_LENGTH_MAX:
        raise invalid(f"malformed query: it is longer than {QUERY_LENGTH_MAX} characters")
    conditions: list[Condition] = []
    at = 0
    if not query.strip():
        return conditions
    while True:
        if len(conditions) == CONDITIONS_MAX:
            raise invalid(f"malformed query: more than {CONDITIONS_MAX} comparisons")
        found = _COMPARISON.match(query, at)
        if found is None:
            raise invalid(f"malformed query: syntax error at position {at}: expected <property> = '<text>'")
        name, operator, single, double = found.groups()
        read = PROPERTIES.get(name)
        if read is None:
            raise invalid(f"malformed query: unknown property {name!r}; there are {', '.join(PROPERTIES)}")
        value = single if single is not None else double
        conditions.append((read, operator == "=", value.lower() if name == "Status" else value))
        at = found.end()
        if at == len(query):
            return conditions
        joint = _AND.match(query, at)
        if joint is None:
            raise invalid(f"malformed query: syntax error at position {at}: expected AND")
        at = joint.end()


def matches(conditions: Sequence[Condition], heartbeat: WorkerHeartbeat) -> bool:
    """Whether a worker fulfils all of them."""
    return all((read(heartbeat) == value) is equal for read, equal, value in conditions)
