"""Task queues: who polls one, and what waits on it."""

from __future__ import annotations

import socket

from temporalio.api.enums.v1 import BuildIdTaskReachability, DescribeTaskQueueMode, TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueuePartitionMetadata, TaskQueueStats
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import duration, timestamp
from perdure.core.execution import Execution
from perdure.core.names import QueueName, Task, TaskKind
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_queue

_USUAL = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
_DEFAULT_PRIORITY = 3
_NO_RATE_LIMIT = 100_000.0
"""What Temporal's server tells of a poller that set none."""
_KINDS = {
    TaskQueueType.TASK_QUEUE_TYPE_UNSPECIFIED: TaskKind.WORKFLOW,
    TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW: TaskKind.WORKFLOW,
    TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY: TaskKind.ACTIVITY,
}


class TaskQueues:
    """The RPCs about a task queue. One that nobody ever named is described too: nobody polls it, nothing waits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def describe(
        self, request: service.DescribeTaskQueueRequest, call: Call
    ) -> service.DescribeTaskQueueResponse:
        """DescribeTaskQueue: pollers of the last five minutes; with `report_stats` the backlog.

        Raises Rejected INVALID_ARGUMENT, NOT_FOUND; FAILED_PRECONDITION beside the engine that is polled.
        """
        check_queue(call, request.task_queue.name)
        if not self._engine.config.has_duties:
            raise Rejected(StatusCode.FAILED_PRECONDITION, "An engine that only looks does not see who polls.")
        if request.api_mode == DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED:
            return await self._described_by_type(request)
        response = service.DescribeTaskQueueResponse()
        kind = _KINDS.get(request.task_queue_type)
        if kind is None:  # a queue of Nexus tasks
            return response
        queue = QueueName(request.namespace, request.task_queue.name, kind)
        response.pollers.extend(self._pollers(queue))
        if request.include_task_queue_status:
            response.task_queue_status.backlog_count_hint = (await self._engine.backlog(queue))[0]
        if request.report_stats:
            response.stats.CopyFrom(await self._stats(queue))
            response.stats_by_priority_key[_DEFAULT_PRIORITY].CopyFrom(response.stats)
        return response

    async def _described_by_type(self, request: service.DescribeTaskQueueRequest) -> service.DescribeTaskQueueResponse:
        """As `temporal task-queue describe` asks: by version, of which there is one, and by type."""
        response = service.DescribeTaskQueueResponse()
        version = response.versions_info[""]
        for type in request.task_queue_types or _USUAL:
            info = version.types_info[type]
            kind = _KINDS.get(type)
            if kind is None:
                continue
            queue = QueueName(request.namespace, request.task_queue.name, kind)
            if request.report_pollers:
                info.pollers.extend(self._pollers(queue))
            if request.report_stats:
                info.stats.CopyFrom(await self._stats(queue))
        if request.report_task_reachability:
            version.task_reachability = BuildIdTaskReachability.BUILD_ID_TASK_REACHABILITY_REACHABLE
        return response

    def _pollers(self, queue: QueueName) -> list[PollerInfo]:
        now_ns = self._engine.clock.now_ns()
        seen = sorted(self._engine.matching.pollers(queue).items())
        return [
            PollerInfo(identity=identity, last_access_time=timestamp(now_ns - since_ns), rate_per_second=_NO_RATE_LIMIT)
            for identity, since_ns in seen
        ]

    async def _stats(self, queue: QueueName) -> TaskQueueStats:
        now_ns = self._engine.clock.now_ns()
        count, oldest = await self._engine.backlog(queue)
        age_ns = now_ns - await self._scheduled_at(oldest, now_ns) if oldest is not None else 0
        return TaskQueueStats(approximate_backlog_count=count, approximate_backlog_age=duration(max(0, age_ns)))

    async def _scheduled_at(self, task: Task, now_ns: int) -> int:
        """When a task was put on its queue; now, when it is there no more."""

        def look(execution: Execution | None) -> int:
            if execution is None:
                return now_ns
            if task.queue.kind == TaskKind.WORKFLOW:
                owed = execution.current_task
                return now_ns if owed is None else owed.scheduled_at_ns
            attempt = execution.facts.attempts.get(task.scheduled_event_id)
            return now_ns if attempt is None else attempt.scheduled_at_ns

        key = task.key
        return await self._engine.read(key.namespace, key.workflow_id, key.run_id, look)

    async def partitions(
        self, request: service.ListTaskQueuePartitionsRequest, call: Call
    ) -> service.ListTaskQueuePartitionsResponse:
        """ListTaskQueuePartitions: a queue is whole. Raises Rejected INVALID_ARGUMENT, NOT_FOUND."""
        check_queue(call, request.task_queue.name)
        whole = TaskQueuePartitionMetadata(key=request.task_queue.name, owner_host_name=socket.gethostname())
        return service.ListTaskQueuePartitionsResponse(
            workflow_task_queue_partitions=[whole], activity_task_queue_partitions=[whole]
        )
