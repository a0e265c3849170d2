"""What this server says that it can do. Clients change how they behave by it, so it names only what is there."""

from __future__ import annotations

from temporalio.api.namespace.v1 import NamespaceInfo
from temporalio.api.workflowservice.v1 import GetSystemInfoResponse

from perdure.core.limits import Limits

COMPLETION_BYTES_MAX = 4 << 20
"""Of one workflow task's completion: a message on the wire is not larger."""


def system_capabilities() -> GetSystemInfoResponse.Capabilities:
    """Of the server as a whole."""
    return GetSystemInfoResponse.Capabilities(
        signal_and_query_header=True,
        internal_error_differentiation=True,
        activity_failure_include_heartbeat=True,
        supports_schedules=True,
        encoded_failure_attributes=True,
        upsert_memo=True,
        eager_workflow_start=True,
        sdk_metadata=True,
        count_group_by_execution_status=True,
    )


def describe_capabilities(info: NamespaceInfo, limits: Limits) -> None:
    """Of a namespace, with the limits that workers check results against before they send them."""
    capabilities = info.capabilities
    capabilities.eager_workflow_start = True
    capabilities.sync_update = True
    capabilities.async_update = True
    capabilities.worker_heartbeats = True
    capabilities.workflow_pause = True
    capabilities.worker_poll_complete_on_shutdown = True
    capabilities.poller_autoscaling = True
    info.supports_schedules = True
    info.limits.blob_size_limit_error = limits.blob_bytes
    info.limits.memo_size_limit_error = limits.memo_bytes
    info.limits.workflow_task_completion_size_limit_error = COMPLETION_BYTES_MAX
