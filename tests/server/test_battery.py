"""Every case of the battery, beside calls of the same connection: what is wrong with one stream harms no other."""

from __future__ import annotations

import asyncio

import pytest

from tests.server import battery_frames, battery_requests
from tests.server.bare import Bare, bare
from tests.server.battery import Case, Ended, Open, body, call, opening, verify
from tests.server.battery_frames import STARTS
from tests.server.wire import Heard

CASES = [*battery_frames.CASES, *battery_requests.CASES]
EARLIER, ITS, LATER = 1, 3, 999


def test_the_battery_is_a_table_of_different_cases() -> None:
    names = [case.name for case in (*CASES, *STARTS)]
    assert len(set(names)) == len(names) > 300


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_client_is_told_what_the_rfc_says_and_its_neighbours_go_on(case: Case) -> None:
    async def scenario() -> None:
        async with bare() as here:
            wire = await here.wire()
            wire.send(opening(EARLIER), case.send(ITS))
            heard = Heard()
            if case.then is not None:
                await wire.listen({ITS}, heard)
                wire.send(case.then(ITS))
            if isinstance(case.expected, Ended):
                assert await wire.end() == case.expected.code
            else:
                wire.send(body(EARLIER), call(LATER))
                ends = {EARLIER, LATER} if isinstance(case.expected, Open) else {EARLIER, ITS, LATER}
                await wire.listen(ends, heard)
                assert heard.headers[EARLIER]["grpc-status"] == heard.headers[LATER]["grpc-status"] == "0"
                verify(case.expected, ITS, heard)
            await others_go_on(here)

    asyncio.run(scenario())


@pytest.mark.parametrize("case", STARTS, ids=lambda case: case.name)
def test_a_connection_that_begins_badly_ends(case: Case) -> None:
    async def scenario() -> None:
        async with bare() as here:
            assert isinstance(case.expected, Ended)
            wire = await here.wire(greets=False)
            wire.send(case.send(ITS))
            assert await wire.end() == case.expected.code
            await others_go_on(here)

    asyncio.run(scenario())


async def others_go_on(here: Bare) -> None:
    """A call on another connection is answered."""
    wire = await here.wire()
    wire.send(call(1))
    heard = await wire.listen({1}, Heard())
    assert heard.headers[1]["grpc-status"] == "0"
