"""Activities and a workflow that many tests share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from perdure.sdk.activity import activity
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.workflow.workflow import AsyncWorkflow, SyncWorkflow, call, workflow


@activity(name="a")
def a(value: Any = None) -> Any:
    return value


@activity(name="b")
def b(value: Any = None) -> Any:
    return value


@workflow
def two_in_a_row(value: int) -> list[Any]:
    return [call(a, value), call(b, value)]


@activity(name="x")
def x(value: Any = None) -> Any:
    return value


def version_of(name: str) -> Callable[[Callable[..., Any]], AnyWorkflow]:
    """One of several workflows of that name: not registered, for engines of other tests run all that is."""

    def make(function: Callable[..., Any]) -> AnyWorkflow:
        kind = AsyncWorkflow if inspect.iscoroutinefunction(function) else SyncWorkflow
        return kind(function, name)

    return make
