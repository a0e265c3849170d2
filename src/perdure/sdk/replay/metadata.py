"""What a run says of itself to tools: `temporal workflow metadata`, and the UI of Temporal.

The query `__temporal_workflow_metadata` is answered as Temporal's SDKs do, with a `WorkflowMetadata`: the type, the
signals, queries and updates that the code takes now, each with what its docstring begins with, and the details that
the code has set. Definitions stand in the order of their names; that of a dynamic handler has none and comes first.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from temporalio.api.sdk.v1 import WorkflowDefinition, WorkflowInteractionDefinition, WorkflowMetadata

from perdure.sdk.declare.callables import function_of
from perdure.sdk.replay.parts import HandlerView
from perdure.sdk.replay.run import Run

METADATA = "__temporal_workflow_metadata"


def metadata(machine: Run, builtin: Iterable[str]) -> WorkflowMetadata:
    """The answer. `builtin`: the queries that every run answers."""
    inbox, info = machine.inbox, machine.info
    assert info is not None, "a question comes with the first event, at least"
    queries = _definitions(() if inbox is None else inbox.queries.values())
    queries += [WorkflowInteractionDefinition(name=name) for name in builtin]
    return WorkflowMetadata(
        definition=WorkflowDefinition(
            type=info.workflow_type,
            query_definitions=sorted(queries, key=_name),
            signal_definitions=sorted(_definitions(() if inbox is None else inbox.signals.values()), key=_name),
            update_definitions=sorted(_definitions(() if inbox is None else inbox.updates.values()), key=_name),
        ),
        current_details=machine.current_details,
    )


def _name(definition: WorkflowInteractionDefinition) -> str:
    return definition.name


def _definitions(handlers: Iterable[HandlerView]) -> list[WorkflowInteractionDefinition]:
    return [
        WorkflowInteractionDefinition(name=handler.name or "", description=_first_paragraph(handler.fn))
        for handler in handlers
    ]


def _first_paragraph(fn: object) -> str:
    text = inspect.getdoc(function_of(fn)) or ""
    return " ".join(text.split("\n\n")[0].split())
