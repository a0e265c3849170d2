"""The official `temporal` command line against our server: each command runs, and says what it should."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure import Engine
from perdure import workflow as own_workflow
from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.open import open_store

Temporal = Callable[..., str]
QUEUE = "greetings"
START = ("--type", "Greeting", "--task-queue", QUEUE)


@activity.defn
async def greet(name: str) -> str:
    return f"hello {name}"


@workflow.defn(name="Greeting")
class Greeting:
    def __init__(self) -> None:
        self.names: list[str] = []

    @workflow.run
    async def run(self, name: str) -> str:
        greeting = await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=10))
        if name == "wait":
            await workflow.wait_condition(lambda: "go" in self.names)
        return greeting

    @workflow.signal
    def tell(self, name: str) -> None:
        self.names.append(name)

    @workflow.query
    def told(self) -> list[str]:
        return self.names

    @workflow.update
    def add(self, name: str) -> int:
        self.names.append(name)
        return len(self.names)


@own_workflow(name="Described")
class Described:
    """A workflow of our own SDK."""

    @own_workflow.run
    def run(self) -> None:
        own_workflow.set_current_details("waiting for pay")
        own_workflow.wait_condition(lambda: False)

    @own_workflow.signal
    def pay(self, card: str) -> None:
        """Pay the order."""

    @own_workflow.query
    def state(self) -> str:
        """How it stands."""
        return "open"


class _Background:
    """An event loop in a thread: the command line is waited for in this one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


async def _worker(address: str) -> Worker:
    worker = Worker(
        await Client.connect(address),
        task_queue=QUEUE,
        workflows=[Greeting],
        activities=[greet],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await worker.__aenter__()
    return worker


@pytest.fixture(scope="module")
def temporal() -> Iterator[Temporal]:
    """Runs the command with these arguments and gives what it prints; fails when it fails."""
    program = shutil.which("temporal", path=str(Path(sys.executable).parent)) or "temporal"
    background = _Background()
    server = Server(open_store("memory://"), ServerConfig(address="127.0.0.1:0", http_address=""))
    background.run(server.start())
    worker = background.run(_worker(server.address))

    own = Engine(f"grpc://{server.address}", task_queue="own", workflows=[Described], activities=[]).open()
    own.start(Described, id="described")

    def run(*arguments: str) -> str:
        command = [program, *arguments, "--address", server.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    yield run
    own.close()
    background.run(worker.__aexit__(None, None, None))
    background.run(server.stop())
    background.stop()


def test_a_workflow_is_started_watched_and_read(temporal: Temporal) -> None:
    started = temporal("workflow", "execute", *START, "--workflow-id", "ada", "--input", '"Ada"')
    assert '"hello Ada"' in started
    assert "WorkflowExecutionCompleted" in temporal("workflow", "show", "-w", "ada")
    events = json.loads(temporal("workflow", "show", "-w", "ada", "--output", "json"))["events"]
    assert len(events) == 11
    assert "✓ greet" in temporal("workflow", "trace", "-w", "ada", "--no-fold")
    assert '"hello Ada"' in temporal("workflow", "result", "-w", "ada")
    described = temporal("workflow", "describe", "-w", "ada")
    assert "COMPLETED" in described and "HistoryLength" in described


def test_a_workflow_is_told_asked_and_changed(temporal: Temporal) -> None:
    start = temporal("workflow", "start", *START, "--workflow-id", "waits", "--input", '"wait"')
    assert "WorkflowId  waits" in start
    assert "succeeded" in temporal("workflow", "signal", "-w", "waits", "--name", "tell", "--input", '"a"')
    assert '["a"]' in temporal("workflow", "query", "-w", "waits", "--type", "told")
    update = ("workflow", "update")
    assert "Result    2" in temporal(*update, "execute", "-w", "waits", "--name", "add", "--input", '"b"')
    accepted = ("--wait-for-stage", "accepted", "--update-id", "u")
    temporal(*update, "start", "-w", "waits", "--name", "add", "--input", '"c"', *accepted)
    assert "Result    3" in temporal(*update, "result", "-w", "waits", "--update-id", "u")
    assert "Stage     Completed" in temporal(*update, "describe", "-w", "waits", "--update-id", "u")
    assert "Stack for" in temporal("workflow", "stack", "-w", "waits")
    assert "told" in temporal("workflow", "metadata", "-w", "waits")
    assert "paused" in temporal("workflow", "pause", "-w", "waits", "--reason", "wait")
    temporal("workflow", "unpause", "-w", "waits", "--reason", "go on")
    assert "Canceled" in temporal("workflow", "cancel", "-w", "waits")


def test_a_workflow_of_our_own_sdk_says_what_it_takes(temporal: Temporal) -> None:
    (said,) = json.loads(temporal("workflow", "metadata", "-w", "described", "--output", "json"))["queryResult"]
    assert said["currentDetails"] == "waiting for pay"
    assert said["definition"]["type"] == "Described"
    assert {"name": "pay", "description": "Pay the order."} in said["definition"]["signalDefinitions"]
    assert {"name": "state", "description": "How it stands."} in said["definition"]["queryDefinitions"]
    assert "test_temporal_command.py" in temporal("workflow", "stack", "-w", "described")


def test_a_workflow_is_started_and_told_at_once(temporal: Temporal) -> None:
    signal = ("--signal-name", "tell", "--signal-input", '"go"')
    temporal("workflow", "signal-with-start", *START, "--workflow-id", "told", "--input", '"wait"', *signal)
    assert '"hello wait"' in temporal("workflow", "result", "-w", "told")
    existing = ("--id-conflict-policy", "UseExisting", "--update-name", "add", "--update-input", '"go"')
    begun = ("workflow", "execute-update-with-start", *START, "--workflow-id", "both", "--input", '"wait"', *existing)
    assert "UpdateResult  1" in temporal(*begun)


def test_a_workflow_is_terminated_reset_and_deleted(temporal: Temporal) -> None:
    temporal("workflow", "start", *START, "--workflow-id", "ends", "--input", '"wait"')
    assert "terminated" in temporal("workflow", "terminate", "-w", "ends", "--reason", "enough")
    temporal("workflow", "execute", *START, "--workflow-id", "again", "--input", '"Ada"')
    assert "event ID 4" in temporal("workflow", "reset", "-w", "again", "--event-id", "4", "--reason", "again")
    assert '"hello Ada"' in temporal("workflow", "result", "-w", "again")
    assert "Resetting" in temporal(
        "workflow", "reset", "-w", "again", "--type", "LastWorkflowTask", "--reason", "again"
    )
    assert "succeeded" in temporal("workflow", "delete", "-w", "ends", "--yes")


def test_workflows_are_listed_and_counted(temporal: Temporal) -> None:
    temporal("workflow", "execute", *START, "--workflow-id", "listed", "--input", '"Ada"')
    query = ("--query", "WorkflowId = 'listed' AND ExecutionStatus = 'Completed'")
    assert "listed" in temporal("workflow", "list", *query)
    assert "Total: 1" in temporal("workflow", "count", *query)
    grouped = temporal("workflow", "count", "--query", "WorkflowId = 'listed' GROUP BY ExecutionStatus")
    assert "Group total: 1, values: Completed" in grouped


def test_task_queues_and_workers_are_described(temporal: Temporal) -> None:
    described = temporal("task-queue", "describe", "--task-queue", QUEUE)
    assert "ApproximateBacklogCount" in described and "UNVERSIONED" in described
    assert QUEUE in temporal("task-queue", "list-partition", "--task-queue", QUEUE)
    temporal("worker", "list")


def test_namespaces_are_made_and_changed(temporal: Temporal) -> None:
    assert "registered" in temporal("operator", "namespace", "create", "-n", "shop", "--retention", "3d")
    assert "72h0m0s" in temporal("operator", "namespace", "describe", "-n", "shop")
    temporal("operator", "namespace", "update", "-n", "shop", "--description", "of orders")
    assert "of orders" in temporal("operator", "namespace", "describe", "-n", "shop")
    assert "shop" in temporal("operator", "namespace", "list")
    assert "deleted" in temporal("operator", "namespace", "delete", "-n", "shop", "--yes")


def test_search_attributes_come_and_go(temporal: Temporal) -> None:
    attributes = ("operator", "search-attribute")
    temporal(*attributes, "create", "--name", "Colour", "--type", "Keyword")
    assert "Colour" in temporal(*attributes, "list")
    temporal(*attributes, "remove", "--name", "Colour", "--yes")
    assert "Colour" not in temporal(*attributes, "list")


def test_the_server_says_how_it_is(temporal: Temporal) -> None:
    assert "SERVING" in temporal("operator", "cluster", "health")
    assert "SupportsSchedules" in temporal("operator", "cluster", "system")
    assert "memory" in temporal("operator", "cluster", "describe")
    assert "active" in temporal("operator", "cluster", "list")


def test_a_schedule_from_beginning_to_end(temporal: Temporal) -> None:
    schedule = ("--schedule-id", "hourly")
    temporal(
        "schedule", "create", *schedule, "--interval", "1h", *START, "--workflow-id", "by-hour", "--input", '"Ada"'
    )
    assert "1h 0m 0s" in temporal("schedule", "describe", *schedule)
    assert "hourly" in temporal("schedule", "list")
    assert "sent" in temporal("schedule", "trigger", *schedule)
    temporal("schedule", "toggle", *schedule, "--pause", "--reason", "enough")
    assert "enough" in temporal("schedule", "describe", *schedule)
    times = ("--start-time", "2026-11-20T00:00:00Z", "--end-time", "2026-11-20T02:00:00Z")
    assert "sent" in temporal("schedule", "backfill", *schedule, *times, "--overlap-policy", "BufferAll")
    temporal("schedule", "update", *schedule, "--interval", "2h", *START, "--workflow-id", "by-hour")
    assert "2h 0m 0s" in temporal("schedule", "describe", *schedule)
    assert "deleted" in temporal("schedule", "delete", *schedule)


def test_many_workflows_are_changed_at_once(temporal: Temporal) -> None:
    for number in range(2):
        temporal("workflow", "start", *START, "--workflow-id", f"many-{number}", "--input", '"wait"')
    query = ("--query", "WorkflowId STARTS_WITH 'many-' AND ExecutionStatus = 'Running'")
    signalled = temporal("workflow", "signal", *query, "--name", "tell", "--input", '"go"', "--reason", "all", "--yes")
    job_id = signalled.split("JobId:")[-1].split()[0] if "JobId:" in signalled else signalled.split()[-1]
    for number in range(2):
        assert '"hello wait"' in temporal("workflow", "result", "-w", f"many-{number}")
    assert job_id in temporal("batch", "list")
    assert "Signal" in temporal("batch", "describe", "--job-id", job_id)


def test_options_of_a_workflow_are_changed(temporal: Temporal) -> None:
    temporal("workflow", "start", *START, "--workflow-id", "held", "--input", '"wait"')
    override = ("--versioning-override-behavior", "auto_upgrade")
    assert "succeeded" in temporal("workflow", "update-options", "-w", "held", *override)
    assert "auto_upgrade" in temporal("workflow", "describe", "-w", "held", "--output", "json").lower().replace(
        "autoupgrade", "auto_upgrade"
    )
