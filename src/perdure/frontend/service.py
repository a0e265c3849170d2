"""All RPCs under their names: what a transport, or the SDK in the same process, talks to.

The methods are those of the nouns, behind the chain (`perdure.frontend.chain`): a call costs no further coroutine.
Each takes its RPC's request message, returns the response message, and raises `perdure.api.errors.Rejected`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from temporalio.api.workflowservice import v1 as service

from perdure.engine.engine import Engine
from perdure.frontend.activities_by_id import ActivitiesById
from perdure.frontend.activity_controls import ActivityControls
from perdure.frontend.activity_tasks import ActivityTasks
from perdure.frontend.batches import Batches
from perdure.frontend.calls import Call
from perdure.frontend.chain import Chain
from perdure.frontend.clusters import Clusters
from perdure.frontend.deletions import Deletions
from perdure.frontend.enlisting import Enlisting
from perdure.frontend.history import Histories
from perdure.frontend.namespaces import Namespaces
from perdure.frontend.pauses import Pauses
from perdure.frontend.queries import Queries
from perdure.frontend.resets import Resets
from perdure.frontend.reverse_history import ReverseHistories
from perdure.frontend.schedules import Schedules
from perdure.frontend.search_attributes import SearchAttributes
from perdure.frontend.serving import Serving
from perdure.frontend.signals import Signals
from perdure.frontend.sticky_queues import StickyQueues
from perdure.frontend.system import System
from perdure.frontend.task_queues import TaskQueues
from perdure.frontend.updates import Updates
from perdure.frontend.visibility import Visibility
from perdure.frontend.workers import Workers
from perdure.frontend.workflow_options import WorkflowOptions
from perdure.frontend.workflow_tasks import WorkflowTasks
from perdure.frontend.workflows import Workflows


class WorkflowService:
    """`temporal.api.workflowservice.v1.WorkflowService` over an engine that was started.

    Satisfies `Connection`, `NearConnection`, `TransactionalConnection` and `EnlistingConnection` of
    `perdure.sdk.connection.protocol`.
    """

    def __init__(self, engine: Engine, chain: Chain | None = None) -> None:
        self._chain = chain or Chain(engine)
        serve = self._chain.serve
        workflows = Workflows(engine)
        self.start_workflow_execution = serve("StartWorkflowExecution", workflows.start)
        self.describe_workflow_execution = serve("DescribeWorkflowExecution", workflows.describe)
        self.request_cancel_workflow_execution = serve("RequestCancelWorkflowExecution", workflows.request_cancel)
        self.terminate_workflow_execution = serve("TerminateWorkflowExecution", workflows.terminate)

        signals = Signals(engine)
        self.signal_workflow_execution = serve("SignalWorkflowExecution", signals.signal)
        self.signal_with_start_workflow_execution = serve("SignalWithStartWorkflowExecution", signals.signal_with_start)

        self.update_workflow_execution_options = serve("UpdateWorkflowExecutionOptions", WorkflowOptions(engine).update)

        pauses = Pauses(engine)
        self.pause_workflow_execution = serve("PauseWorkflowExecution", pauses.pause)
        self.unpause_workflow_execution = serve("UnpauseWorkflowExecution", pauses.unpause)

        self.reset_workflow_execution = serve("ResetWorkflowExecution", Resets(engine).reset)

        updates = Updates(engine)
        self.update_workflow_execution = serve("UpdateWorkflowExecution", updates.update)
        self.poll_workflow_execution_update = serve("PollWorkflowExecutionUpdate", updates.poll)
        self.execute_multi_operation = serve("ExecuteMultiOperation", updates.multi)

        queries = Queries(engine)
        self.query_workflow = serve("QueryWorkflow", queries.query)
        self.respond_query_task_completed = serve("RespondQueryTaskCompleted", queries.completed)

        workflow_tasks = WorkflowTasks(engine)
        self.poll_workflow_task_queue = serve("PollWorkflowTaskQueue", workflow_tasks.poll)
        self.respond_workflow_task_completed = serve("RespondWorkflowTaskCompleted", workflow_tasks.completed)
        self.respond_workflow_task_failed = serve("RespondWorkflowTaskFailed", workflow_tasks.failed)

        workers = Workers(engine)
        self.record_worker_heartbeat = serve("RecordWorkerHeartbeat", workers.record)
        self.list_workers = serve("ListWorkers", workers.list)
        self.count_workers = serve("CountWorkers", workers.count)
        self.describe_worker = serve("DescribeWorker", workers.describe)
        self.shutdown_worker = serve("ShutdownWorker", workers.shut_down)

        self.reset_sticky_task_queue = serve("ResetStickyTaskQueue", StickyQueues(engine).reset)

        self._add_activities(engine)
        self._add_enlisting(engine)

        serving = Serving(engine, self._chain)
        self.serve_workflow_tasks = serving.workflow_tasks
        self.serve_activity_tasks = serving.activity_tasks

        self.get_workflow_execution_history = serve("GetWorkflowExecutionHistory", Histories(engine).get)
        self.get_workflow_execution_history_reverse = serve(
            "GetWorkflowExecutionHistoryReverse", ReverseHistories(engine).get
        )

        self._add_schedules(engine)

        self._add_visibility(engine)
        self._add_batches(engine)

        self._add_namespaces(engine)
        self.get_system_info = serve("GetSystemInfo", System().info)
        self.get_cluster_info = serve("GetClusterInfo", Clusters(engine).info)

    def _add_activities(self, engine: Engine) -> None:
        serve = self._chain.serve
        activity_tasks = ActivityTasks(engine)
        self.poll_activity_task_queue = serve("PollActivityTaskQueue", activity_tasks.poll)
        self.respond_activity_task_completed = serve("RespondActivityTaskCompleted", activity_tasks.completed)
        completed_in_transaction = activity_tasks.completed_in_transaction
        gate = self._chain.gate("RespondActivityTaskCompleted")

        async def complete_activity_in_transaction(
            request: service.RespondActivityTaskCompletedRequest, work: Callable[[Any], bool]
        ) -> bool:
            return await gate(
                request, Call("RespondActivityTaskCompleted"), partial(completed_in_transaction, work=work)
            )

        self.complete_activity_in_transaction = complete_activity_in_transaction
        self.respond_activity_task_failed = serve("RespondActivityTaskFailed", activity_tasks.failed)
        self.respond_activity_task_canceled = serve("RespondActivityTaskCanceled", activity_tasks.canceled)
        self.record_activity_task_heartbeat = serve("RecordActivityTaskHeartbeat", activity_tasks.heartbeat)

        by_id = ActivitiesById(engine, activity_tasks)
        self.respond_activity_task_completed_by_id = serve("RespondActivityTaskCompletedById", by_id.completed)
        self.respond_activity_task_failed_by_id = serve("RespondActivityTaskFailedById", by_id.failed)
        self.respond_activity_task_canceled_by_id = serve("RespondActivityTaskCanceledById", by_id.canceled)
        self.record_activity_task_heartbeat_by_id = serve("RecordActivityTaskHeartbeatById", by_id.heartbeat)

        controls = ActivityControls(engine)
        self.pause_activity = serve("PauseActivity", controls.pause)
        self.unpause_activity = serve("UnpauseActivity", controls.unpause)
        self.reset_activity = serve("ResetActivity", controls.reset)
        self.update_activity_options = serve("UpdateActivityOptions", controls.update_options)

    def _add_enlisting(self, engine: Engine) -> None:
        enlisting = Enlisting(engine)
        doors = {
            kind: (rpc, self._chain.gate(rpc), handler)
            for kind, rpc, handler in (
                (service.StartWorkflowExecutionRequest, "StartWorkflowExecution", enlisting.start),
                (service.SignalWorkflowExecutionRequest, "SignalWorkflowExecution", enlisting.signal),
                (
                    service.SignalWithStartWorkflowExecutionRequest,
                    "SignalWithStartWorkflowExecution",
                    enlisting.signal_with_start,
                ),
            )
        }

        async def enlist(request: Any) -> Any:
            rpc, gate, handler = doors[type(request)]
            return await gate(request, Call(rpc), handler)

        self.enlist = enlist
        self.standing_of_enlisted = enlisting.standing

    def _add_schedules(self, engine: Engine) -> None:
        serve = self._chain.serve
        schedules = Schedules(engine)
        self.create_schedule = serve("CreateSchedule", schedules.create)
        self.describe_schedule = serve("DescribeSchedule", schedules.describe)
        self.update_schedule = serve("UpdateSchedule", schedules.update)
        self.patch_schedule = serve("PatchSchedule", schedules.patch)
        self.delete_schedule = serve("DeleteSchedule", schedules.delete)
        self.list_schedules = serve("ListSchedules", schedules.list)
        self.count_schedules = serve("CountSchedules", schedules.count)
        self.list_schedule_matching_times = serve("ListScheduleMatchingTimes", schedules.matching_times)

    def _add_batches(self, engine: Engine) -> None:
        serve = self._chain.serve
        batches = Batches(engine, self)
        engine.front.put(self._chain.interceptors, batches.perform, self._chain.let)
        self.start_batch_operation = serve("StartBatchOperation", batches.start)
        self.stop_batch_operation = serve("StopBatchOperation", batches.stop)
        self.describe_batch_operation = serve("DescribeBatchOperation", batches.describe)
        self.list_batch_operations = serve("ListBatchOperations", batches.list)

    def _add_namespaces(self, engine: Engine) -> None:
        serve = self._chain.serve
        namespaces = Namespaces(engine)
        self.register_namespace = serve("RegisterNamespace", namespaces.register)
        self.describe_namespace = serve("DescribeNamespace", namespaces.describe)
        self.list_namespaces = serve("ListNamespaces", namespaces.list)
        self.update_namespace = serve("UpdateNamespace", namespaces.update)
        self.deprecate_namespace = serve("DeprecateNamespace", namespaces.deprecate)

        task_queues = TaskQueues(engine)
        self.describe_task_queue = serve("DescribeTaskQueue", task_queues.describe)
        self.list_task_queue_partitions = serve("ListTaskQueuePartitions", task_queues.partitions)

    def _add_visibility(self, engine: Engine) -> None:
        serve = self._chain.serve
        visibility = Visibility(engine)
        self.list_workflow_executions = serve("ListWorkflowExecutions", visibility.list)
        self.scan_workflow_executions = serve("ScanWorkflowExecutions", visibility.scan)
        self.count_workflow_executions = serve("CountWorkflowExecutions", visibility.count)
        self.list_open_workflow_executions = serve("ListOpenWorkflowExecutions", visibility.list_open)
        self.list_closed_workflow_executions = serve("ListClosedWorkflowExecutions", visibility.list_closed)
        self.list_archived_workflow_executions = serve("ListArchivedWorkflowExecutions", visibility.list_archived)
        self.get_search_attributes = serve("GetSearchAttributes", SearchAttributes(engine).get)
        self.delete_workflow_execution = serve("DeleteWorkflowExecution", Deletions(engine).delete)
