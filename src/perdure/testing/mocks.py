"""Activities by name, replaced for a test.

The worker finds activities by the name that history knows. So a mock needs a name and nothing else: the
real function need not even be importable, as when it is served by other workers. Arguments arrive
decoded, as the real one's annotations say; a mock without annotations of its own takes them over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast, get_type_hints

from perdure.sdk.declare.definitions import (
    ActivityDefinition,
    AnyActivity,
    AnyWorkflow,
    AsyncActivity,
    Registry,
    SyncActivity,
)
from perdure.sdk.errors import UnknownTypeError
from perdure.sdk.options import ActivityOptions

UNSET: Any = object()


class ActivityMock:
    """One activity, replaced. As a context manager it puts the real one back at the end of the block.

    Attributes:
        name: of the activity.
        calls: the arguments of each attempt, in order, failed ones included.
    """

    def __init__(self, registry: MockRegistry, definition: AnyActivity, calls: list[tuple[Any, ...]]) -> None:
        self._registry = registry
        self.definition = definition
        self.name = definition.name
        self.calls = calls

    def restore(self) -> None:
        """Put back what this mock replaced. Idempotent."""
        self._registry.remove(self)

    def __enter__(self) -> ActivityMock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def __repr__(self) -> str:
        return f"<ActivityMock {self.name}: {len(self.calls)} calls>"


class MockRegistry(Registry):
    """A registry whose activities may be replaced, the latest mock of a name first."""

    def __init__(self, real: Registry) -> None:
        super().__init__(real.workflows, real.activities)
        self._real = real
        self._mocks: dict[str, list[ActivityMock]] = {}

    def workflow(self, name: str) -> AnyWorkflow:
        """Raises UnknownTypeError."""
        return self._real.workflow(name)

    def activity(self, name: str) -> AnyActivity:
        """Raises UnknownTypeError when there is neither a mock nor a real one."""
        mocks = self._mocks.get(name)
        return mocks[-1].definition if mocks else self._real.activity(name)

    def mock(self, activity: str | AnyActivity, fn: Callable[..., Any]) -> ActivityMock:
        """See `TestEngine.mock`."""
        real = self._find(activity) if isinstance(activity, str) else activity
        name = activity if isinstance(activity, str) else activity.name
        calls: list[tuple[Any, ...]] = []
        mock = ActivityMock(self, _definition(name, real, fn, calls), calls)
        self._mocks.setdefault(name, []).append(mock)
        return mock

    def _find(self, name: str) -> AnyActivity | None:
        """The real one, also of the engine's own; of several of one name the latest; None when there is none."""
        try:
            return self._real.activity(name)
        except UnknownTypeError:
            return self.activities.get(name)

    def remove(self, mock: ActivityMock) -> None:
        """Take a mock out. Idempotent."""
        mocks = self._mocks.get(mock.name, [])
        if mock in mocks:
            mocks.remove(mock)


def behaviour(fn: Callable[..., Any] | None, returns: Any, raises: Any) -> Callable[..., Any]:
    """The function that a mock runs. Raises TypeError unless exactly one of the three is given."""
    if sum((fn is not None, returns is not UNSET, raises is not None)) != 1:
        raise TypeError("give a mock one of: a function, returns=..., raises=...")
    if fn is not None:
        return fn

    def answer(*args: Any) -> Any:
        if raises is not None:
            raise raises
        return returns

    return answer


def _definition(
    name: str, real: AnyActivity | None, fn: Callable[..., Any], calls: list[tuple[Any, ...]]
) -> AnyActivity:
    """An activity of that name, typed as the mock is, or else as the real one is."""

    def run(*args: Any) -> Any:
        calls.append(args)
        return fn(*args)

    async def run_async(*args: Any) -> Any:
        calls.append(args)
        return await fn(*args)

    is_async = inspect.iscoroutinefunction(fn)
    kind = cast(type[ActivityDefinition[Any, Any]], AsyncActivity if is_async else SyncActivity)
    definition = kind(run_async if is_async else run, name=name, options=ActivityOptions())
    types, returns = _types(real, fn)
    setattr(definition, "_shape", definition.shape._replace(types=types, returns=returns))
    return definition


def _types(real: AnyActivity | None, fn: Callable[..., Any]) -> tuple[list[Any], Any]:
    """Of each parameter the mock's own annotation, or the real one's at its place."""
    real_types = [] if real is None else real.argument_types
    try:
        hints = get_type_hints(fn, include_extras=True)
        parameters = inspect.signature(fn).parameters.values()
    except (NameError, TypeError, ValueError):
        # A callable without a signature (some of C's), or annotations that only a type checker sees.
        return real_types, Any
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    types = [hints.get(name, real_types[place] if place < len(real_types) else Any) for place, name in enumerate(names)]
    return types + real_types[len(names) :], Any
