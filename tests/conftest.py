"""Settings that hold for every test.

Hypothesis runs the same examples every time (profile `fixed`), so that a red build is red for everybody.
To look for new counterexamples: HYPOTHESIS_PROFILE=explore make test ARGS=tests/core
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from perdure.sdk.declare.definitions import Shelf, default_registry
from tests.servers.fixtures import (  # noqa: F401 - for every test that asks for them
    _mysql_database,
    _postgres_database,
    empty_mysql,
    mariadb_database,
    mariadb_server,
    mysql_url,
    pgbouncer_server,
    postgres_database,
    postgres_server,
)

# No deadline: a busy machine must never turn a law into a flaky test.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile(
    "explore", deadline=None, max_examples=2_000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test may be a coroutine: it runs on an event loop of its own, with its fixtures."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True, scope="module")
def only_what_this_module_declares(request: pytest.FixtureRequest) -> Iterator[None]:
    """An engine in a test runs what that test module declares, and what is no test module's.

    One test session imports what would be many programs; two of them may name a workflow alike.
    """
    everything = default_registry.workflows, default_registry.activities
    own = request.module.__name__
    default_registry.workflows = _declared_for(own, everything[0])
    default_registry.activities = _declared_for(own, everything[1])
    yield
    default_registry.workflows, default_registry.activities = everything


def _declared_for(own: str, everything: Shelf[Any]) -> Shelf[Any]:
    declared = everything.all()
    mine = [definition for definition in declared if definition.__module__ == own]
    names = {definition.name for definition in mine}
    shared = [
        definition
        for definition in declared
        if definition.__module__ != own
        and ".test_" not in definition.__module__
        and definition.name not in names
        # An engine that can run what events start begins to listen for them, which a test may well see.
        and not getattr(definition, "events", ())
    ]
    shelf = everything.empty()
    for definition in [*shared, *mine]:
        shelf.add(definition)
    return shelf
