"""How the calls that start workflows are typed: arguments, options and result, for pyright and for mypy.

A workflow that is a function is a definition, and knows its parameters and its result. A class stays, for a type
checker, the class that it is: mypy looks through no decorator of a class, and only so are its handlers known
(`handle.query(Order.state)`). So a class is startable by its method `run`, whatever `@workflow.run` stands above, and
one that is `async def` gives what its coroutine gives. That makes three overloads of each such call, in this order:
a function, a class with `async def run`, a class with `def run`.

The options of a call stand in the dictionaries here, once: overloads name them by these, and so does what runs, whose
signature lists them one by one for `help` (`takes_options`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Required, TypedDict, TypeVar, TypeVarTuple

from perdure.sdk.declare.search_attributes import SearchAttributes
from perdure.sdk.options import Duration, Retry
from perdure.sdk.policies import Cancellation, IdConflictPolicy, IdReusePolicy, ParentClosePolicy

R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")


class StartableWorkflow(Protocol[*Ts, R_co]):
    """A function that is a workflow and takes these positional arguments."""

    @property
    def recorded(self) -> Callable[[*Ts], R_co]: ...


class Runs(Protocol[*Ts, R_co]):
    """An object of a class whose method `run` is the workflow. `R` is a coroutine's if it is `async def`."""

    def run(self, *args: *Ts) -> R_co: ...


class _Started(TypedDict, total=False):
    id: str | None
    task_queue: str | None
    execution_timeout: Duration | None
    run_timeout: Duration | None
    task_timeout: Duration | None
    memo: Mapping[str, Any] | None
    search_attributes: SearchAttributes | None
    retry: Retry | None
    cron_schedule: str | None
    static_summary: str | None
    static_details: str | None


Message = str | Callable[..., object]
"""A signal's or an update's name, or the method that handles it."""


class StartOptions(_Started, total=False):
    """Of `run` and `start`."""

    start_delay: Duration | None
    id_reuse_policy: IdReusePolicy | str | None
    id_conflict_policy: IdConflictPolicy | str | None
    start_signal: Message | None
    start_signal_args: Sequence[Any]
    start_update: Message | None
    start_update_args: Sequence[Any]
    start_update_id: str | None
    request_id: str | None
    connection: Any


class SignalWithStartOptions(TypedDict, total=False):
    """Of `signal_with_start`."""

    id: Required[str]
    signal: Required[tuple[Any, Sequence[Any]] | str]
    request_id: str | None
    task_queue: str | None
    id_reuse_policy: IdReusePolicy | str


class ChildOptions(_Started, total=False):
    """Of `start_child` and `call_child`."""

    parent_close_policy: ParentClosePolicy | str
    cancellation: Cancellation | str
    id_reuse_policy: IdReusePolicy | str
