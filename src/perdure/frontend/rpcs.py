"""Which RPCs there are, and which of them somebody serves.

The descriptors of `temporalio.api` say what exists; an RPC is served when its service's object has a
method of its name in snake case. So a new handler is on the wire as soon as it is written, and one
that is missing is answered by name.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from temporalio.api.operatorservice.v1 import service_pb2 as operator_service
from temporalio.api.testservice.v1 import service_pb2 as test_service
from temporalio.api.workflowservice.v1 import service_pb2 as workflow_service

WORKFLOW_SERVICE = "temporal.api.workflowservice.v1.WorkflowService"
OPERATOR_SERVICE = "temporal.api.operatorservice.v1.OperatorService"
TEST_SERVICE = "temporal.api.testservice.v1.TestService"

SERVICES: Mapping[str, ServiceDescriptor] = {
    WORKFLOW_SERVICE: workflow_service.DESCRIPTOR.services_by_name["WorkflowService"],
    OPERATOR_SERVICE: operator_service.DESCRIPTOR.services_by_name["OperatorService"],
    TEST_SERVICE: test_service.DESCRIPTOR.services_by_name["TestService"],
}

Handler = Callable[..., Awaitable[Message]]
"""Given the request, and the `Call` that a transport made."""

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC of a service. `handler` is None when nobody serves it."""

    service: str
    name: str
    request: type[Message]
    response: type[Message]
    handler: Handler | None

    @property
    def path(self) -> str:
        """As it is called on the wire."""
        return f"/{self.service}/{self.name}"


def method_name(rpc: str) -> str:
    """`PollWorkflowTaskQueue` is served by `poll_workflow_task_queue`."""
    return _WORD.sub("_", rpc).lower()


def rpcs(objects: Mapping[str, object]) -> Iterator[Rpc]:
    """Every RPC of every service, in the order of the API; `objects` are those that serve, by service name."""
    for service, descriptor in SERVICES.items():
        serving = objects.get(service)
        for method in descriptor.methods:
            yield Rpc(
                service,
                method.name,
                GetMessageClass(method.input_type),
                GetMessageClass(method.output_type),
                getattr(serving, method_name(method.name), None),
            )
