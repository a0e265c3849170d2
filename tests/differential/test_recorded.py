"""Ours against what Temporal's own server did: every scenario, on one server in this process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.open import open_store
from tests.differential.plain import written
from tests.differential.play import play_all
from tests.differential.record import RECORDINGS, difference, path_of
from tests.differential.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server in a thread of its own: it must answer while this one waits."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(open_store("memory://"), ServerConfig(address="127.0.0.1:0", http_address=""))
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    yield server.address
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def played(address: str, request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """What ours does, of those scenarios that were asked for."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    names = {call.params.get("name") for call in calls if call is not None}
    return asyncio.run(play_all(address, [name for name in SCENARIOS if name in names]))


@pytest.mark.parametrize("name", SCENARIOS)
def test_ours_does_what_temporal_did(name: str, played: Mapping[str, Any]) -> None:
    recorded = path_of(name).read_text()
    assert written(json.loads(recorded)) == recorded, "the file was written by hand"
    assert difference(recorded, written(played[name])) == ""


def test_every_recording_has_its_scenario() -> None:
    assert {path.stem for path in RECORDINGS.glob("*.json")} == set(SCENARIOS)
