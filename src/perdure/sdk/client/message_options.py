"""The options of the calls that send messages, as their overloads name them for type checkers.

A message that is given as the method that handles it is typed by that method. A call without options is matched by the
method's parameters as they are, names and defaults included; one with options, by their positions alone, for options
and parameters of any name cannot stand in one signature.
"""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict

from perdure.sdk.policies import WaitFor


class SignalOptions(TypedDict, total=False):
    """Of a handle's `signal`."""

    request_id: str | None
    connection: Any


class _UpdateOptions(TypedDict, total=False):
    update_id: str | None
    returns: Any


class Accepted(_UpdateOptions, total=False):
    """Of a handle's `update` that gives back an AsyncUpdateHandle."""

    wait_for: Required[Literal["accepted", WaitFor.ACCEPTED]]


class Completed(_UpdateOptions, total=False):
    """Of one that gives back the answer."""

    wait_for: Literal["completed", WaitFor.COMPLETED]


class Identified(TypedDict, total=False):
    """The same, with `update_id` at the least: a call without options is another overload, and must match no second."""

    update_id: Required[str | None]
    returns: Any
    wait_for: Literal["completed", WaitFor.COMPLETED]


class Awaited(_UpdateOptions, total=False):
    """The same, with `wait_for` at the least."""

    wait_for: Required[Literal["completed", WaitFor.COMPLETED]]
