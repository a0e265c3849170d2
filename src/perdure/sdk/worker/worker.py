"""The worker as a whole: its queues, its runners, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from temporalio.api.enums.v1 import TaskQueueKind, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueRequest,
    ShutdownWorkerRequest,
)

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.connection.protocol import Connection, NearConnection, TransactionalConnection
from perdure.sdk.convert import Converter
from perdure.sdk.declare.definitions import AnyWorkflow, Registry, default_registry
from perdure.sdk.errors import DefinitionError, EngineError
from perdure.sdk.interceptors import Interceptor, checked_interceptors
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import SECOND_NS
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.worker.activity_tasks import ActivityTasks
from perdure.sdk.worker.attempt import Stop
from perdure.sdk.worker.config import Footing, WorkerConfig, WorkerName, times_of
from perdure.sdk.worker.delivery import logger
from perdure.sdk.worker.failing import Failed, FailureLog
from perdure.sdk.worker.green_threads import check_threads
from perdure.sdk.worker.handover import Hands, InlineHands, Returns, ThreadHands
from perdure.sdk.worker.local_activities import LocalActivities
from perdure.sdk.worker.machines import Machine, RunCache
from perdure.sdk.worker.processes import ProcessHands
from perdure.sdk.worker.runners import Runners
from perdure.sdk.worker.served import Served
from perdure.sdk.worker.workflow_tasks import WorkflowTasks
from perdure.sdk.worker.workflow_thread import InlineWorkflows, WorkflowExecutor, WorkflowThread
from perdure.sdk.workflow.outbound import composer

AnyRunners = Runners[Any] | Served[Any]


def default_identity() -> str:
    """`pid@host`, as Temporal's workers call themselves."""
    return f"{os.getpid()}@{socket.gethostname()}"


@dataclass(slots=True, frozen=True)
class WorkerSeams:
    """What tests and the simulation put in place of threads and chance."""

    inline: bool = False
    """Run workflow code and `def` activities on the loop itself, at once."""
    instance_key: str | None = None
    """Instead of a random one: names this worker's sticky queue."""
    on_failure: Callable[[Failed], object] | None = None
    """Told of every attempt of an activity or workflow task that failed."""
    sticky_suffix: str = ""
    """What tells its sticky queue from that of another worker with the same key: an engine's of another task queue."""


@lists_options
class QueueWorker:
    """What pulls tasks of one task queue, runs them, and answers. All methods are called on one event loop.

    Args:
        connection: the server.
        task_queue: whose tasks.
        registry: what it can run; default everything decorated in this process.
        namespace: the namespace of the task queue.
        converter: for arguments and results.
        config: bounds and time-outs.
        identity: how the server and its UI call it; default `pid@host`.
        interceptors: around activities and workflows (`perdure.interceptors`), the first the outermost.
        footing: how it stands to the server; default that of one in the server's process.
        seams: for tests.
    """

    def __init__(
        self,
        connection: Connection,
        task_queue: str,
        registry: Registry | None = None,
        *,
        namespace: str = "default",
        converter: Converter | None = None,
        config: WorkerConfig | None = None,
        identity: str | None = None,
        interceptors: Sequence[Interceptor] = (),
        footing: Footing | None = None,
        seams: WorkerSeams | None = None,
    ) -> None:
        seams = seams or WorkerSeams()
        self._footing = footing or Footing()
        self._interceptors = checked_interceptors(interceptors)
        self._compose = composer(self._interceptors)
        key = seams.instance_key or uuid.uuid4().hex
        identity = identity or default_identity()
        self._connection = connection
        self._registry = registry if registry is not None else default_registry
        self._converter = converter or Converter()
        self._config = config or WorkerConfig()
        self._inline = seams.inline
        self._failures = FailureLog(seams.on_failure)
        self.name = WorkerName(namespace, task_queue, f"{identity}-{key}{seams.sticky_suffix}", identity, key)
        self._runners: list[AnyRunners] = []
        self._left: list[AnyRunners] = []
        """Runners of connections that it has moved away from: they have perhaps still something in hand."""
        self._workflows: WorkflowTasks | None = None
        self._eager: AnyRunners | None = None
        self._hurried = asyncio.Event()
        self._cache: RunCache | None = None
        self._executor: WorkflowExecutor | None = None
        self._hands: Hands | None = None
        self._processes: ProcessHands | None = None
        self._activities: ActivityTasks | None = None
        self._local: LocalActivities | None = None

    @property
    def cached_runs(self) -> int:
        """How many runs are in memory between their tasks."""
        return 0 if self._cache is None else len(self._cache)

    async def start(self) -> None:
        """Begin to poll.

        Raises:
            DefinitionError: it is to run everything decorated, and two of those have one name.
            EngineError: the namespace does not exist, or the server is not to be reached; or gevent has replaced
                this process's threads.
        """
        check_threads()
        for complaint in self._registry.workflows.complaints() + self._registry.activities.complaints():
            raise DefinitionError(complaint)
        await self._check_namespace()
        returns = Returns(asyncio.get_running_loop())
        self._executor = (
            InlineWorkflows()
            if self._inline
            else WorkflowThread(returns, times_of(self._config).deadlock_ns, self._on_lost)
        )
        self._cache = RunCache(self._config.cached_runs, self._config.cached_bytes, self._executor.dispose)
        self._hands = InlineHands() if self._inline else ThreadHands(returns, self._config.activity_slots, "perdure")
        self._hands.begin()
        self._processes = ProcessHands(returns, self._converter, self._config.processes, self.name.task_queue)
        self._activities = ActivityTasks(
            self._connection, self.name, self._registry, self._converter, self._config, returns, self._hands,
            self._processes, self._failures, self._interceptors,
        )  # fmt: skip
        self._local = LocalActivities(
            self._activities, self._registry, self._converter, returns, self.name.namespace, self.name.task_queue,
            self._config.local_slots,
        )  # fmt: skip
        self._workflows = WorkflowTasks(
            self._connection, self.name, self._registry, self._converter, self._config, self._executor, self._cache,
            self._make_machine, self._accept, self._local, self._failures, self._footing,
        )  # fmt: skip
        self._start_runners(self._activities, self._workflows)

    def _start_runners(self, activities: ActivityTasks, workflows: WorkflowTasks) -> None:
        self._eager = self._activity_runners(activities)
        self._runners = [*self._workflow_runners(workflows), self._eager]
        for runners in self._runners:
            runners.start()

    def _accept(self, task: PollActivityTaskQueueResponse) -> None:
        """An activity task that came with an answer."""
        assert self._eager is not None, "it was started"
        self._eager.accept(task)

    def move(self, connection: Connection) -> None:
        """Take tasks from there from now on. What is in hand goes on, and is answered there. Nothing if not started."""
        activities, workflows = self._activities, self._workflows
        self._connection = connection
        if activities is None or workflows is None or not self._runners:
            return
        for group in self._runners:
            group.stop_polling()
        self._left += self._runners
        activities.connection = workflows.connection = connection
        self._start_runners(activities, workflows)

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop polling, let running work end within the grace period (`at_once`: none), then cancel it. Idempotent.

        `hurry` ends the grace period.
        """
        runners, self._runners, self._left = [*self._left, *self._runners], [], []
        if not runners or self._executor is None or self._activities is None:
            return
        await self._announce_shutdown()
        for group in runners:
            group.stop_polling()
        if not await self._drains(runners, 0 if at_once else times_of(self._config).shutdown_grace_ns):
            self._activities.stop_running(Stop.SHUTDOWN)
            if self._local is not None:
                self._local.stop_running(Stop.SHUTDOWN)
            if not await _drained(runners, times_of(self._config).shutdown_cancel_ns):
                logger.warning("activities that do not stop are left behind; they will be run again")
        for group in runners:
            await group.abandon()
        if self._cache is not None:
            self._cache.clear()
        await self._executor.stop()
        if self._hands is not None and self._processes is not None:
            self._hands.stop()
            self._activities.stop()
            self._processes.stop()

    def hurry(self) -> None:
        """Have `stop` wait for nothing that runs."""
        self._hurried.set()

    async def _drains(self, groups: list[AnyRunners], limit_ns: int) -> bool:
        """Whether all that runs ended within the limit, and before `hurry`."""
        draining = asyncio.ensure_future(_drained(groups, limit_ns))
        hurried = asyncio.ensure_future(self._hurried.wait())
        try:
            await asyncio.wait((draining, hurried), return_when=asyncio.FIRST_COMPLETED)
            return draining.done() and draining.result()
        finally:
            hurried.cancel()
            draining.cancel()

    def _make_machine(self, definition: AnyWorkflow) -> Machine:
        return WorkflowMachine(
            definition, self._converter, namespace=self.name.namespace, task_queue=self.name.task_queue,
            finds=self._registry.activity, compose=self._compose,
        )  # fmt: skip

    def _on_lost(self, home: object) -> None:
        """The workflow thread was given up: its runs are replayed when their next task comes."""
        if self._cache is not None:
            lost = self._cache.evict_home(home)
            logger.warning("the workflow thread was blocked and is replaced; %d cached runs are replayed", lost)

    def _activity_runners(self, tasks: ActivityTasks) -> AnyRunners:
        request = PollActivityTaskQueueRequest(
            namespace=self.name.namespace,
            task_queue=TaskQueue(name=self.name.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
            identity=self.name.identity,
            worker_instance_key=self.name.instance_key,
        )
        what, slots, connection = (
            f"activity queue {self.name.task_queue!r}",
            self._config.activity_slots,
            self._connection,
        )
        if isinstance(connection, NearConnection):
            return Served(what, partial(connection.serve_activity_tasks, request), tasks.handle, slots=slots)
        return Runners(
            what,
            lambda: connection.poll_activity_task_queue(request),
            tasks.handle,
            slots=slots,
            polls=0 if self._leaves_activities(connection) else self._config.activity_polls,
        )

    def _leaves_activities(self, connection: Connection) -> bool:
        """Whether the activities of the queue are for the process that owns the store alone."""
        if not self._footing.shares_store or isinstance(connection, TransactionalConnection):
            return False
        of_store = [definition.name for definition in self._registry.activities.all() if definition.transactional]
        if of_store:
            logger.info(
                "activities of queue %r are left to the process that owns the store, for one of them writes in its "
                "transactions: %s", self.name.task_queue, ", ".join(sorted(of_store)),
            )  # fmt: skip
        return bool(of_store)

    def _workflow_runners(self, tasks: WorkflowTasks) -> list[AnyRunners]:
        normal = TaskQueue(name=self.name.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
        sticky = TaskQueue(
            name=self.name.sticky_queue,
            kind=TaskQueueKind.TASK_QUEUE_KIND_STICKY,
            normal_name=self.name.task_queue,
        )
        queues = [normal, sticky] if self._config.cached_runs else [normal]
        return [self._runners_of(queue, tasks) for queue in queues]

    def _runners_of(self, queue: TaskQueue, tasks: WorkflowTasks) -> AnyRunners:
        request = PollWorkflowTaskQueueRequest(
            namespace=self.name.namespace,
            task_queue=queue,
            identity=self.name.identity,
            worker_instance_key=self.name.instance_key,
        )
        connection, slots = self._connection, self._config.workflow_slots
        what = f"workflow queue {queue.name!r}"
        if isinstance(connection, NearConnection):
            return Served(what, partial(connection.serve_workflow_tasks, request), tasks.handle, slots=slots)
        return Runners(
            what,
            lambda: connection.poll_workflow_task_queue(request),
            tasks.handle,
            slots=slots,
            polls=self._config.workflow_polls,
        )

    async def _check_namespace(self) -> None:
        try:
            await self._connection.describe_namespace(DescribeNamespaceRequest(namespace=self.name.namespace))
        except Rejected as rejected:
            if rejected.code == StatusCode.NOT_FOUND:
                raise EngineError(f"the namespace {self.name.namespace!r} does not exist on this server") from rejected
            raise EngineError(f"the server cannot be asked for its namespace: {rejected.message}") from rejected

    async def _announce_shutdown(self) -> None:
        """So that tasks of cached runs go to other workers at once, and waiting polls end at the server."""
        request = ShutdownWorkerRequest(
            namespace=self.name.namespace,
            sticky_task_queue=self.name.sticky_queue,
            identity=self.name.identity,
            reason="worker stopped",
            worker_instance_key=self.name.instance_key,
            task_queue=self.name.task_queue,
            task_queue_types=[TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY],
        )
        try:
            await self._connection.shutdown_worker(request)
        except Rejected as rejected:
            # A courtesy: without it the sticky queue's time-out moves the tasks, ten seconds later.
            logger.info("the server was not told of the shutdown: %s", rejected.message)


async def _drained(groups: list[AnyRunners], limit_ns: int) -> bool:
    ended = await asyncio.gather(*(group.drain(limit_ns / SECOND_NS) for group in groups))
    return all(ended)
