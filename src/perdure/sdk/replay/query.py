"""Queries: a look at a run, which must not change it.

A query is answered from what the code has in memory, so it may be asked as often as anybody likes,
also of a run that closed long ago. Its handler may read; whatever would leave a command, wait, or
throw the run's dice raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from temporalio.api.enums.v1 import QueryResultType
from temporalio.api.failure.v1 import Failure
from temporalio.api.query.v1 import WorkflowQuery, WorkflowQueryResult
from temporalio.api.sdk.v1 import WorkflowMetadata

from perdure.api.failures import headline
from perdure.sdk.convert import failure_of
from perdure.sdk.errors import ApplicationError, EngineError
from perdure.sdk.interceptors import HandleQueryInput, headers_of
from perdure.sdk.replay.entry import site_text
from perdure.sdk.replay.metadata import METADATA, metadata
from perdure.sdk.replay.parts import HandlerView
from perdure.sdk.replay.remarks import RESERVED
from perdure.sdk.replay.run import Run

STACK_TRACE = "__stack_trace"

_ANSWERED = QueryResultType.QUERY_RESULT_TYPE_ANSWERED
_FAILED = QueryResultType.QUERY_RESULT_TYPE_FAILED


def answer(machine: Run, query: WorkflowQuery) -> WorkflowQueryResult:
    """What the handler says, or how it failed. On the machine's thread, inside its activation."""
    name = query.query_type
    machine.barred = f"the query {name}"
    ready = machine.fiber.ready_count()
    try:
        builtin = _BUILTIN.get(name)
        value = _ask(machine, name, query) if builtin is None else builtin(machine)
        payloads = machine.converter.to_payloads_message((value,), f"the answer to query {name}")
        if machine.fiber.ready_count() > ready:
            raise EngineError(f"the query {name} set off something in the workflow; a query must only look")
        return WorkflowQueryResult(result_type=_ANSWERED, answer=payloads)
    except BaseException as error:  # whatever the handler raises is the answer, SystemExit too
        return failed(failure_of(error, machine.converter))
    finally:
        machine.barred = None


def failed(failure: Failure) -> WorkflowQueryResult:
    """The answer to a query that could not be answered otherwise."""
    return WorkflowQueryResult(result_type=_FAILED, error_message=failure.message or headline(failure), failure=failure)


def _ask(machine: Run, name: str, query: WorkflowQuery) -> Any:
    inbox = machine.inbox
    handlers = {} if inbox is None else inbox.queries
    handler: HandlerView | None = handlers.get(name)
    if handler is None and not name.startswith(RESERVED):
        handler = handlers.get(None)
    if handler is None or inbox is None:
        known = ", ".join([*sorted(str(known) for known in handlers if known is not None), STACK_TRACE])
        raise ApplicationError(
            f"no handler is registered for the query {name!r}; the workflow has: {known}", type="UnknownQuery"
        )
    what = f"the arguments of query {name}"
    payloads = query.query_args.payloads
    shape = handler.shape
    misfit = shape.misfit(len(payloads))
    if misfit:
        raise TypeError(f"the handler of query {name} {misfit}")
    args = machine.converter.from_payloads(payloads, shape.kinds(len(payloads)), what, shape.names)
    if handler.name is None:
        args.insert(0, name)
    fn = handler.bind(inbox.instance)
    if machine.chain is None:
        return fn(*args)
    return machine.chain.inbound.handle_query(HandleQueryInput(name, fn, args, headers_of(query.header)))


def _stack_trace(machine: Run) -> str:
    """Where each branch of the code waits, the innermost line first."""
    stacks = ["\n".join(site_text(site) for site in stack) for stack in machine.fiber.stacks() if stack]
    return "\n\n".join(stacks) or "nothing waits: the workflow's code has ended, or has not begun"


def _metadata(machine: Run) -> WorkflowMetadata:
    return metadata(machine, _BUILTIN)


_BUILTIN: Final[dict[str, Callable[[Run], Any]]] = {STACK_TRACE: _stack_trace, METADATA: _metadata}
"""Queries that every run answers, whatever its code."""
