"""Workers: their heartbeats, the list of them, and their end."""

from __future__ import annotations

from collections.abc import Iterator

from temporalio.api.errordetails.v1 import NotFoundFailure
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerInfo, WorkerListInfo
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.names import QueueName, TaskKind
from perdure.engine.engine import Engine
from perdure.engine.node.pace import Pace
from perdure.frontend.calls import Call
from perdure.frontend.page_tokens import decode_name, encode_name
from perdure.frontend.worker_filter import matches, parse
from perdure.stores.api import PAGE_BYTES

PAGE_SIZE_MAX = 1_000


class Workers:
    """The RPCs about workers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def record(
        self, request: service.RecordWorkerHeartbeatRequest, call: Call
    ) -> service.RecordWorkerHeartbeatResponse:
        """RecordWorkerHeartbeat: of one worker, or of all of a process."""
        for heartbeat in request.worker_heartbeat:
            self._engine.workers.beat(request.namespace, heartbeat)
        return service.RecordWorkerHeartbeatResponse()

    async def list(self, request: service.ListWorkersRequest, call: Call) -> service.ListWorkersResponse:
        """ListWorkers: by instance key, a page at a time. Raises Rejected INVALID_ARGUMENT for a bad filter."""
        size = min(request.page_size if request.page_size > 0 else PAGE_SIZE_MAX, PAGE_SIZE_MAX)
        after = decode_name(request.next_page_token)
        response = service.ListWorkersResponse()
        weight, pace = 0, Pace()
        for heartbeat in self._matching(request.namespace, request.query):
            await pace.rest()
            if heartbeat.worker_instance_key <= after:
                continue
            weight += heartbeat.ByteSize()
            if response.workers and (weight > PAGE_BYTES or len(response.workers) == size):
                response.next_page_token = encode_name(response.workers[-1].worker_instance_key)
                break
            response.workers_info.append(WorkerInfo(worker_heartbeat=heartbeat))
            response.workers.append(_list_info(heartbeat))
        return response

    async def count(self, request: service.CountWorkersRequest, call: Call) -> service.CountWorkersResponse:
        """CountWorkers. Raises Rejected INVALID_ARGUMENT for a bad filter."""
        count, pace = 0, Pace()
        for _ in self._matching(request.namespace, request.query):
            count += 1
            await pace.rest()
        return service.CountWorkersResponse(count=count)

    async def describe(self, request: service.DescribeWorkerRequest, call: Call) -> service.DescribeWorkerResponse:
        """DescribeWorker. Raises Rejected NOT_FOUND."""
        heartbeat = self._engine.workers.get(request.namespace, request.worker_instance_key)
        if heartbeat is None:
            message = f"Worker {request.worker_instance_key} not found"
            raise Rejected(StatusCode.NOT_FOUND, message, NotFoundFailure())
        return service.DescribeWorkerResponse(worker_info=WorkerInfo(worker_heartbeat=heartbeat))

    async def shut_down(self, request: service.ShutdownWorkerRequest, call: Call) -> service.ShutdownWorkerResponse:
        """ShutdownWorker: its polls end, and nobody will poll its sticky queue: what follows goes to the normal one."""
        self._engine.matching.end_worker(request.namespace, request.worker_instance_key)
        if request.HasField("worker_heartbeat"):
            self._engine.workers.beat(request.namespace, request.worker_heartbeat)
        if request.sticky_task_queue:
            name = QueueName(request.namespace, request.sticky_task_queue, TaskKind.WORKFLOW)
            self._engine.matching.drop(name)
        return service.ShutdownWorkerResponse()

    def _matching(self, namespace: str, query: str) -> Iterator[WorkerHeartbeat]:
        conditions = parse(query)
        return (beat for beat in self._engine.workers.all(namespace) if matches(conditions, beat))


def _list_info(heartbeat: WorkerHeartbeat) -> WorkerListInfo:
    return WorkerListInfo(
        worker_instance_key=heartbeat.worker_instance_key,
        worker_identity=heartbeat.worker_identity,
        task_queue=heartbeat.task_queue,
        deployment_version=heartbeat.deployment_version if heartbeat.HasField("deployment_version") else None,
        sdk_name=heartbeat.sdk_name,
        sdk_version=heartbeat.sdk_version,
        status=heartbeat.status,
        start_time=heartbeat.start_time if heartbeat.HasField("start_time") else None,
        host_name=heartbeat.host_info.host_name,
        worker_grouping_key=heartbeat.host_info.worker_grouping_key,
        process_id=heartbeat.host_info.process_id,
        plugins=heartbeat.plugins,
        drivers=heartbeat.drivers,
    )
