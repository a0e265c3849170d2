"""Would this code still replay that history? Asked before a deployment, of one history or of all open ones.

A history is replayed up to its last completed workflow task: what the code would do next is its own
affair, what it did is not. So nothing is run that was not run before, and no side effect is made.

One history is in memory at a time. The findings are kept, up to a bound; the counts are always whole.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.sdk.convert import Converter
from perdure.sdk.declare.definitions import AnyWorkflow, Registry, WorkflowDefinition, default_registry
from perdure.sdk.errors import DefinitionError, NonDeterminismError, PerdureError
from perdure.sdk.interceptors import WorkflowChain
from perdure.sdk.moments import former_ns
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.texts import class_name, text_of

Workflows = AnyWorkflow | type[Any] | ModuleType | Iterable[AnyWorkflow | type[Any] | ModuleType] | Registry | None
"""Workflow code: one workflow, a module of them, several of either, or None for everything decorated here."""

PROBLEMS_MAX = 100_000
"""Problems described in a report; beyond it they are counted alone."""


class HistoryFormatError(PerdureError, ValueError):
    """What was given as a history is none; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class ReplayProblem:
    """One execution that the code would not get through."""

    workflow_id: str
    run_id: str
    workflow_type: str
    message: str
    """All of it, for a person: both sides, and what to do."""
    event_id: int | None = None
    """Where history and code part; None: behind the last event, or in no one place."""
    event: str = ""
    """What history says there."""
    command: str = ""
    """What the code does instead, with its file and line where there is one."""

    def __str__(self) -> str:
        return f"{self.workflow_type} {self.workflow_id!r} (run {self.run_id}): {self.message}"


@dataclass(slots=True)
class ReplayReport:
    """What became of all histories that were replayed."""

    problems: list[ReplayProblem] = field(default_factory=list[ReplayProblem])
    """Those found, the first 100,000 of them."""
    checked: Counter[str] = field(default_factory=Counter[str])
    """Executions replayed, by workflow type."""
    broken: Counter[str] = field(default_factory=Counter[str])
    """Of these the ones that would break, by workflow type."""
    unknown: Counter[str] = field(default_factory=Counter[str])
    """Executions whose type is not among the code given, by type: nobody can say."""
    events: int = 0
    """Events replayed."""
    elapsed: timedelta = timedelta()
    """What it took."""

    @property
    def ok(self) -> bool:
        """Whether nothing would break; types that are unknown are not judged."""
        return not self.broken

    def __str__(self) -> str:
        checked, broken = self.checked.total(), self.broken.total()
        seconds = self.elapsed.total_seconds()
        text = f"{checked:,} replayed, {broken:,} would break, {self.events:,} events in {seconds:.1f} s"
        if self.unknown:
            kinds = ", ".join(f"{name} ({count:,})" for name, count in sorted(self.unknown.items()))
            text += f"; not judged, for their code was not given: {kinds}"
        return text

    if not TYPE_CHECKING:
        elapsed_ns = former_ns("elapsed_ns", "elapsed")


class ReplayChecker:
    """Replays histories against workflow code and gathers the findings.

    Args:
        workflows: the code.
        converter: of the payloads; the default one if there is no codec.
        namespace: where the runs live, for `workflow.info()`.
        otherwise: where types are looked for that are not among `workflows`.
        compose: makes the chain of interceptors of a run; None for none.

    Raises:
        DefinitionError: something given is no workflow, or there is none at all.
    """

    def __init__(
        self,
        workflows: Workflows = None,
        converter: Converter | None = None,
        namespace: str = "default",
        otherwise: Registry | None = None,
        *,
        compose: Callable[[Any], WorkflowChain] | None = None,
    ) -> None:
        self._registries = [registry_of(workflows), *([] if otherwise is None else [otherwise])]
        self._converter = converter or Converter()
        self._namespace = namespace
        self._compose = compose
        self.report = ReplayReport()

    def knows(self, workflow_type: str) -> bool:
        """Whether code of that type was given."""
        return any(registry.workflows.get(workflow_type) is not None for registry in self._registries)

    def require(self, workflow_type: str) -> AnyWorkflow:
        """The code of that type. Raises UnknownTypeError when none was given, or two of that name."""
        for registry in self._registries:
            if registry.workflows.get(workflow_type) is not None:
                return registry.workflow(workflow_type)
        return self._registries[0].workflow(workflow_type)

    def skip(self, workflow_type: str) -> None:
        """Count an execution that cannot be judged."""
        self.report.unknown[workflow_type] += 1

    def check(self, events: Sequence[HistoryEvent], workflow_id: str = "", run_id: str = "") -> ReplayProblem | None:
        """Replay one history; the problem, if there is one.

        Raises:
            HistoryFormatError: the events do not begin with the run's start.
            UnknownTypeError: two workflows of that type were given.
        """
        started = _started(events)
        name = started.workflow_type.name
        if not self.knows(name):
            self.skip(name)
            return None
        definition = self.require(name)
        self.report.checked[name] += 1
        self.report.events += len(events)
        task = _task_of(events, workflow_id or started.workflow_id, run_id or started.original_execution_run_id)
        problem = self._replay(definition, task)
        if problem is not None:
            self.report.broken[name] += 1
            if len(self.report.problems) < PROBLEMS_MAX:
                self.report.problems.append(problem)
        return problem

    def _replay(self, definition: AnyWorkflow, task: PollWorkflowTaskQueueResponse) -> ReplayProblem | None:
        queue = task.history.events[0].workflow_execution_started_event_attributes.task_queue.name
        machine = WorkflowMachine(
            definition, self._converter, namespace=self._namespace, task_queue=queue, compose=self._compose
        )
        try:
            error = machine.process(task).error
        finally:
            machine.close()
        if error is None:
            return None
        execution = task.workflow_execution
        disagrees = isinstance(error, NonDeterminismError)
        return ReplayProblem(
            workflow_id=execution.workflow_id,
            run_id=execution.run_id,
            workflow_type=definition.name,
            message=str(error) if disagrees else f"{class_name(error)}: {text_of(error)}",
            event_id=error.event_id if disagrees else None,
            event=error.history if disagrees else "",
            command=error.code if disagrees else "",
        )


def registry_of(workflows: Workflows) -> Registry:
    """The workflows that were given in one of the ways that `Workflows` allows. Raises DefinitionError."""
    if workflows is None:
        return default_registry
    if isinstance(workflows, Registry):
        return workflows
    given: Any = [workflows] if isinstance(workflows, (WorkflowDefinition, ModuleType)) else workflows
    found: list[AnyWorkflow] = []
    for item in given:
        found.extend(workflows_in(item) if isinstance(item, ModuleType) else [item])
    if not found:
        raise DefinitionError("no workflow was given: name a module that has functions decorated with @workflow")
    return Registry(found, ())


def workflows_in(module: ModuleType) -> list[AnyWorkflow]:
    """The workflows that are names of the module, imported ones too."""
    members = inspect.getmembers_static(module, lambda member: isinstance(member, WorkflowDefinition))
    return list({id(member): cast(AnyWorkflow, member) for _, member in members}.values())


def parse_history(data: bytes | str) -> list[HistoryEvent]:
    """A stored history: Temporal's JSON (`temporal workflow show --output json`), or a serialised History message.

    Raises HistoryFormatError.
    """
    raw = data.encode() if isinstance(data, str) else data
    history = History()
    try:
        if raw.lstrip()[:1] == b"{":
            json_format.Parse(raw.decode(), history, ignore_unknown_fields=True)
        else:
            history.ParseFromString(raw)
    except (json_format.ParseError, DecodeError, UnicodeDecodeError) as error:
        raise HistoryFormatError(
            f"this is no event history ({error}): it must be Temporal's JSON, as `perdure workflow export` and "
            "`temporal workflow show --output json` write it, or a serialised History message"
        ) from error
    events = list(history.events)
    _started(events)
    return events


def format_history(events: Iterable[HistoryEvent]) -> str:
    """Temporal's JSON of a history, one line per field, the same text for the same events. Raises nothing."""
    return json_format.MessageToJson(History(events=events), indent=2) + "\n"


def _started(events: Sequence[HistoryEvent]) -> Any:
    if not events or events[0].event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        raise HistoryFormatError("this is no whole history: its first event is not WorkflowExecutionStarted")
    return events[0].workflow_execution_started_event_attributes


def _task_of(events: Sequence[HistoryEvent], workflow_id: str, run_id: str) -> PollWorkflowTaskQueueResponse:
    """A history as a worker gets it, less a workflow task that is just being worked on."""
    task = PollWorkflowTaskQueueResponse()
    task.workflow_execution.workflow_id = workflow_id
    task.workflow_execution.run_id = run_id
    if events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
        events = events[:-1]
    task.history.events.extend(events)
    return task
