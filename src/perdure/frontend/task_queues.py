"""Task queues: who polls one, and what waits on it."""

from __future__ import annotations

import socket

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueuePartitionMetadata, TaskQueueStats
from temporalio.api.workflowservice import v1 as service

from perdure.api.times import duration, timestamp
from perdure.core.commit import QueueName, Task, TaskKind
from perdure.core.execution import Execution
from perdure.engine.engine import Engine
from perdure.frontend.edge import check_namespace, check_queue

_DEFAULT_PRIORITY = 3
_KINDS = {
    TaskQueueType.TASK_QUEUE_TYPE_UNSPECIFIED: TaskKind.WORKFLOW,
    TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW: TaskKind.WORKFLOW,
    TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY: TaskKind.ACTIVITY,
}


class TaskQueues:
    """The RPCs about a task queue. One that nobody ever named is described too: nobody polls it, nothing waits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def describe(self, request: service.DescribeTaskQueueRequest) -> service.DescribeTaskQueueResponse:
        """DescribeTaskQueue: pollers of the last five minutes; with `report_stats` the backlog.

        Raises Rejected INVALID_ARGUMENT, NOT_FOUND.
        """
        check_namespace(self._engine, request.namespace)
        check_queue(request.task_queue.name)
        kind = _KINDS.get(request.task_queue_type)
        response = service.DescribeTaskQueueResponse()
        if kind is None:  # a queue of Nexus tasks
            return response
        queue = QueueName(request.namespace, request.task_queue.name, kind)
        now_ns = self._engine.clock.now_ns()
        for identity, since_ns in sorted(self._engine.matching.pollers(queue).items()):
            response.pollers.add(identity=identity, last_access_time=timestamp(now_ns - since_ns))
        count, oldest = 0, None
        if request.report_stats or request.include_task_queue_status:
            count, oldest = await self._engine.backlog(queue)
        if request.include_task_queue_status:
            response.task_queue_status.backlog_count_hint = count
        if request.report_stats:
            response.stats.approximate_backlog_count = count
            age_ns = now_ns - await self._scheduled_at(oldest, now_ns) if oldest is not None else 0
            response.stats.approximate_backlog_age.CopyFrom(duration(max(0, age_ns)))
            if count:
                stats: TaskQueueStats = response.stats_by_priority_key[_DEFAULT_PRIORITY]
                stats.CopyFrom(response.stats)
        return response

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
        self, request: service.ListTaskQueuePartitionsRequest
    ) -> service.ListTaskQueuePartitionsResponse:
        """ListTaskQueuePartitions: a queue is whole. Raises Rejected INVALID_ARGUMENT, NOT_FOUND."""
        check_namespace(self._engine, request.namespace)
        check_queue(request.task_queue.name)
        whole = TaskQueuePartitionMetadata(key=request.task_queue.name, owner_host_name=socket.gethostname())
        return service.ListTaskQueuePartitionsResponse(
            workflow_task_queue_partitions=[whole], activity_task_queue_partitions=[whole]
        )
