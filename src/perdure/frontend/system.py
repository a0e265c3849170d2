"""What this server is and can do."""

from __future__ import annotations

from importlib.metadata import version

from temporalio.api.workflowservice import v1 as service

SERVER_VERSION = version("perdure")


class System:
    """The RPC about the server itself. A capability is named here only when it is there."""

    async def info(self, request: service.GetSystemInfoRequest) -> service.GetSystemInfoResponse:
        """GetSystemInfo."""
        response = service.GetSystemInfoResponse(server_version=SERVER_VERSION)
        capabilities = response.capabilities
        capabilities.signal_and_query_header = True
        capabilities.activity_failure_include_heartbeat = True
        capabilities.upsert_memo = True
        capabilities.internal_error_differentiation = True
        capabilities.encoded_failure_attributes = True
        capabilities.sdk_metadata = True
        capabilities.count_group_by_execution_status = True
        return response
