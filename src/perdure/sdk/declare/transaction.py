"""Transactional activities: `@activity(transactional=True) def book(tx, order)`.

An activity whose effect is a row in the very file that holds the engine's own tables need not run "at
least once". The engine lends it the transaction in which its completion is recorded: the row and the
completion are durable together, or neither is. No idempotency key, no clean-up.

Only an engine in the same process can lend its transaction; elsewhere such an activity fails, and says why.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from perdure.sdk.declare.definitions import ActivityDefinition, direct_call_guard
from perdure.sdk.errors import DefinitionError
from perdure.sdk.options import ActivityOptions
from perdure.sdk.policies import RunIn

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")

Parameters = Sequence[Any] | Mapping[str, Any]


class TransactionCursor(Protocol):
    """A statement that was run: rows to be fetched, as with the standard library's cursors."""

    def execute(self, sql: str, parameters: Parameters = ()) -> TransactionCursor:
        """Run another statement."""
        ...

    def fetchone(self) -> Any:
        """The next row, None behind the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...

    @property
    def rowcount(self) -> int:
        """Rows changed."""
        ...

    @property
    def lastrowid(self) -> int | None:
        """Of the last INSERT."""
        ...


class Transaction(Protocol):
    """What a transactional activity is given: its place in the store's write transaction.

    It can read and write tables of the user's, and make them. It cannot end the transaction (returning keeps what was
    written, raising drops it) or touch the engine's tables.

    Its methods raise what the database's driver raises: `sqlite3.Error` and its kinds on a file.
    """

    row_factory: Any
    """For the cursors made from now on, e.g. `sqlite3.Row`."""

    def execute(self, sql: str, parameters: Parameters = ()) -> TransactionCursor:
        """Run one statement; parameters are marked `?` or `:name`."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> TransactionCursor:
        """Run one statement for each set of parameters."""
        ...

    def cursor(self) -> TransactionCursor:
        """A cursor of its own."""
        ...


class TransactionalActivity(ActivityDefinition[P, R_co]):
    """An activity that is given the transaction. `P` is what a call passes: the transaction is not among it."""

    transactional = True

    def __init__(
        self, fn: Callable[..., Any], *, name: str | None, options: ActivityOptions, run_in: RunIn | str = RunIn.AUTO
    ) -> None:
        super().__init__(fn, name=name, options=options, run_in=run_in)
        if self.is_async or self.run_in != "thread":
            raise DefinitionError(
                f"{self.name} is transactional: a plain `def` in a thread, for the store waits while it runs"
            )
        given = list(inspect.signature(self.fn).parameters.values())
        place = int(not self.is_declared)
        if len(given) <= place or given[place].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise DefinitionError(
                f"{self.name} is transactional: its first parameter is the transaction, as in (tx, order)"
            )

    @property
    def given_by_worker(self) -> int:
        """The transaction, behind the object of a method."""
        return super().given_by_worker + 1

    if TYPE_CHECKING:  # a method's call has no `self`, with an object or without

        @overload
        def __get__(
            self: TransactionalActivity[Concatenate[S, Q], T], instance: None, owner: type[Any] | None = None
        ) -> TransactionalActivity[Q, T]: ...
        @overload
        def __get__(
            self: TransactionalActivity[Concatenate[S, Q], T], instance: object, owner: type[Any] | None = None
        ) -> TransactionalActivity[Q, T]: ...
        def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any: ...

    def __call__(self, tx: Any, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The plain function, with any connection in the transaction's place: for tests and scripts."""
        for check in direct_call_guard:
            check(self.name)
        return cast(R_co, self.fn(tx, *args, **kwargs))


class TransactionalDecorator(Protocol):
    """`@activity(transactional=True, ...)`: still to be given its function."""

    def __call__(self, fn: Callable[Concatenate[Any, P], R], /) -> TransactionalActivity[P, R]: ...
