"""What this server is and can do."""

from __future__ import annotations

from importlib.metadata import version

from temporalio.api.workflowservice import v1 as service

from perdure.frontend.calls import Call
from perdure.frontend.capabilities import system_capabilities

SERVER_VERSION = version("perdure")


class System:
    """The RPC about the server itself."""

    async def info(self, request: service.GetSystemInfoRequest, call: Call) -> service.GetSystemInfoResponse:
        """GetSystemInfo."""
        return service.GetSystemInfoResponse(server_version=SERVER_VERSION, capabilities=system_capabilities())
