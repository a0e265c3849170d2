"""All RPCs under their names: what a transport, or the SDK in the same process, talks to.

The methods are those of the nouns, behind the gate (`perdure.frontend.gate`): a call costs no further coroutine.
Each takes its RPC's request message, returns the response message, and raises `perdure.api.errors.Rejected`.
"""

from __future__ import annotations

from perdure.engine.engine import Engine
from perdure.frontend import gate
from perdure.frontend.activities_by_id import ActivitiesById
from perdure.frontend.activity_controls import ActivityControls
from perdure.frontend.activity_tasks import ActivityTasks
from perdure.frontend.batches import Batches
from perdure.frontend.clusters import Clusters
from perdure.frontend.deletions import Deletions
from perdure.frontend.history import Histories
from perdure.frontend.namespaces import Namespaces
from perdure.frontend.pauses import Pauses
from perdure.frontend.queries import Queries
from perdure.frontend.resets import Resets
from perdure.frontend.reverse_history import ReverseHistories
from perdure.frontend.rpcs import WORKFLOW_SERVICE
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

    Satisfies `Connection`, `NearConnection` and `TransactionalConnection` of `perdure.sdk.connection.protocol`.
    """

    def __init__(self, engine: Engine) -> None:
        workflows = Workflows(engine)
        self.start_workflow_execution = workflows.start
        self.describe_workflow_execution = workflows.describe
        self.request_cancel_workflow_execution = workflows.request_cancel
        self.terminate_workflow_execution = workflows.terminate

        signals = Signals(engine)
        self.signal_workflow_execution = signals.signal
        self.signal_with_start_workflow_execution = signals.signal_with_start

        self.update_workflow_execution_options = WorkflowOptions(engine).update

        pauses = Pauses(engine)
        self.pause_workflow_execution = pauses.pause
        self.unpause_workflow_execution = pauses.unpause

        self.reset_workflow_execution = Resets(engine).reset

        updates = Updates(engine)
        self.update_workflow_execution = updates.update
        self.poll_workflow_execution_update = updates.poll
        self.execute_multi_operation = updates.multi

        queries = Queries(engine)
        self.query_workflow = queries.query
        self.respond_query_task_completed = queries.completed

        workflow_tasks = WorkflowTasks(engine)
        self.poll_workflow_task_queue = workflow_tasks.poll
        self.respond_workflow_task_completed = workflow_tasks.completed
        self.respond_workflow_task_failed = workflow_tasks.failed

        workers = Workers(engine)
        self.record_worker_heartbeat = workers.record
        self.list_workers = workers.list
        self.count_workers = workers.count
        self.describe_worker = workers.describe
        self.shutdown_worker = workers.shut_down

        self.reset_sticky_task_queue = StickyQueues(engine).reset

        self._add_activities(engine)

        serving = Serving(engine)
        self.serve_workflow_tasks = serving.workflow_tasks
        self.serve_activity_tasks = serving.activity_tasks

        self.get_workflow_execution_history = Histories(engine).get
        self.get_workflow_execution_history_reverse = ReverseHistories(engine).get

        self._add_schedules(engine)

        self._add_visibility(engine)
        self._add_batches(engine)

        self._add_namespaces(engine)
        self.get_system_info = System().info
        self.get_cluster_info = Clusters(engine).info
        gate.put_before(self, WORKFLOW_SERVICE, engine.config.limits)

    def _add_activities(self, engine: Engine) -> None:
        activity_tasks = ActivityTasks(engine)
        self.poll_activity_task_queue = activity_tasks.poll
        self.respond_activity_task_completed = activity_tasks.completed
        self.complete_activity_in_transaction = activity_tasks.completed_in_transaction
        self.respond_activity_task_failed = activity_tasks.failed
        self.respond_activity_task_canceled = activity_tasks.canceled
        self.record_activity_task_heartbeat = activity_tasks.heartbeat

        by_id = ActivitiesById(engine, activity_tasks)
        self.respond_activity_task_completed_by_id = by_id.completed
        self.respond_activity_task_failed_by_id = by_id.failed
        self.respond_activity_task_canceled_by_id = by_id.canceled
        self.record_activity_task_heartbeat_by_id = by_id.heartbeat

        controls = ActivityControls(engine)
        self.pause_activity = controls.pause
        self.unpause_activity = controls.unpause
        self.reset_activity = controls.reset
        self.update_activity_options = controls.update_options

    def _add_schedules(self, engine: Engine) -> None:
        schedules = Schedules(engine)
        self.create_schedule = schedules.create
        self.describe_schedule = schedules.describe
        self.update_schedule = schedules.update
        self.patch_schedule = schedules.patch
        self.delete_schedule = schedules.delete
        self.list_schedules = schedules.list
        self.count_schedules = schedules.count
        self.list_schedule_matching_times = schedules.matching_times

    def _add_batches(self, engine: Engine) -> None:
        batches = Batches(engine, self)
        self.start_batch_operation = batches.start
        self.stop_batch_operation = batches.stop
        self.describe_batch_operation = batches.describe
        self.list_batch_operations = batches.list

    def _add_namespaces(self, engine: Engine) -> None:
        namespaces = Namespaces(engine)
        self.register_namespace = namespaces.register
        self.describe_namespace = namespaces.describe
        self.list_namespaces = namespaces.list
        self.update_namespace = namespaces.update
        self.deprecate_namespace = namespaces.deprecate

        task_queues = TaskQueues(engine)
        self.describe_task_queue = task_queues.describe
        self.list_task_queue_partitions = task_queues.partitions

    def _add_visibility(self, engine: Engine) -> None:
        visibility = Visibility(engine)
        self.list_workflow_executions = visibility.list
        self.scan_workflow_executions = visibility.scan
        self.count_workflow_executions = visibility.count
        self.list_open_workflow_executions = visibility.list_open
        self.list_closed_workflow_executions = visibility.list_closed
        self.list_archived_workflow_executions = visibility.list_archived
        self.get_search_attributes = SearchAttributes(engine).get
        self.delete_workflow_execution = Deletions(engine).delete
