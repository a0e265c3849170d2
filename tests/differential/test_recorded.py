"""Ours against what Temporal's own server did: every scenario, on one server in this process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.open import open_store
from tests.differential.plain import written
from tests.differential.play import play_all
from tests.differential.record import RECORDINGS, difference, path_of
from tests.differential.scenarios import SCENARIOS
from tests.servers.chosen import CHOSEN, kinds
from tests.servers.stores import new_store

Play = Callable[[str], Mapping[str, Any]]

DATABASES = ("postgres", "pgbouncer", "mariadb")
CASES = [
    (kind, name)
    for kind in kinds("memory", *DATABASES)
    for name in (list(SCENARIOS)[DATABASES.index(kind) :: 6] if kind in DATABASES and not CHOSEN else SCENARIOS)
]
"""All on one kind of store; as a rule some on each kind of database besides."""


@contextmanager
def serving(url: str) -> Generator[str]:
    """In a thread of its own: it must answer while this one waits."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(open_store(url), ServerConfig(address="127.0.0.1:0", http_address=""))
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    yield server.address
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """What ours does on a kind of store, of those scenarios that were asked for."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {(call.params.get("kind"), call.params.get("name")) for call in calls if call is not None}

    @cache
    def play(kind: str) -> Mapping[str, Any]:
        names = [name for name in SCENARIOS if (kind, name) in asked]
        with new_store(kind, tmp_path_factory.mktemp("store")) as url, serving(url) as address:
            return asyncio.run(play_all(address, names))

    return play


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_ours_does_what_temporal_did(kind: str, name: str, played: Play) -> None:
    recorded = path_of(name).read_text()
    assert written(json.loads(recorded)) == recorded, "the file was written by hand"
    assert difference(recorded, written(played(kind)[name])) == ""


def test_every_recording_has_its_scenario() -> None:
    assert {path.stem for path in RECORDINGS.glob("*.json")} == set(SCENARIOS)
