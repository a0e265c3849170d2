"""Activities and a workflow that many tests share."""

from __future__ import annotations

from typing import Any

from perdure.sdk.activity import activity
from perdure.sdk.workflow import call, workflow


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
