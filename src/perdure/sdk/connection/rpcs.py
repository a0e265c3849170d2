"""Which RPCs a connection has: all of Temporal's workflow service, and of its operator service."""

from __future__ import annotations

import re

from google.protobuf.descriptor import ServiceDescriptor
from temporalio.api.operatorservice.v1 import service_pb2 as operator_pb2
from temporalio.api.workflowservice.v1 import service_pb2

SERVICES: tuple[ServiceDescriptor, ...] = (
    service_pb2.DESCRIPTOR.services_by_name["WorkflowService"],
    operator_pb2.DESCRIPTOR.services_by_name["OperatorService"],
)
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def method_name(rpc: str) -> str:
    """`PollWorkflowTaskQueue` is called by `poll_workflow_task_queue`."""
    return _WORD.sub("_", rpc).lower()
