"""A relay leads calls to where it was told last, and calls that see the other side go are repeated at the next."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeNamespaceResponse

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.connection import relay
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.connection.relay import Relay
from perdure.sdk.connection.rpcs import SERVICES, method_name

REQUEST = DescribeNamespaceRequest(namespace="default")


class Side:
    """Another side: answers with its name, or refuses."""

    def __init__(self, name: str, code: StatusCode | None = None) -> None:
        self.name = name
        self.code = code
        self.asked = asyncio.Event()

    async def describe_namespace(self, request: DescribeNamespaceRequest) -> DescribeNamespaceResponse:
        self.asked.set()
        if self.code is not None:
            raise Rejected(self.code, self.name)
        response = DescribeNamespaceResponse()
        response.namespace_info.name = f"{request.namespace} of {self.name}"
        return response


def side(name: str, code: StatusCode | None = None) -> Any:
    return Side(name, code)


async def ask(through: Relay) -> str:
    return (await through.rpcs.describe_namespace(REQUEST)).namespace_info.name


def test_a_relay_has_every_rpc_of_a_connection() -> None:
    names = {method_name(method.name) for service in SERVICES for method in service.methods}
    wanted = {name for name in vars(Connection) if not name.startswith("_")}
    assert wanted <= names
    assert all(hasattr(Relay(), name) for name in wanted)


async def test_a_call_waits_until_there_is_another_side() -> None:
    through = Relay()
    waiting = [asyncio.ensure_future(ask(through)) for _ in range(3)]
    await asyncio.sleep(0)
    through.lead_to(side("one"))
    assert await asyncio.gather(*waiting) == ["default of one"] * 3
    through.lead_to(side("two"))
    assert await ask(through) == "default of two"


async def test_a_call_that_waits_in_vain_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "WAIT_S", 0.01)
    through = Relay()
    through.lead_nowhere("nobody owns it")
    with pytest.raises(Rejected, match="nobody owns it") as refused:
        await ask(through)
    assert refused.value.code is StatusCode.UNAVAILABLE


async def test_a_call_that_sees_the_other_side_go_is_repeated_at_the_next() -> None:
    through, first = Relay(), side("first", StatusCode.UNAVAILABLE)
    through.lead_to(first)
    asked = asyncio.ensure_future(ask(through))
    await cast(Side, first).asked.wait()
    through.lead_nowhere("it went")
    through.lead_to(side("second"))
    assert await asked == "default of second"


async def test_a_refusal_of_a_side_that_stays_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "NOTICE_S", 0.01)
    through = Relay()
    for code in (StatusCode.UNAVAILABLE, StatusCode.NOT_FOUND):
        through.lead_to(side("there", code))
        with pytest.raises(Rejected) as refused:
            await ask(through)
        assert refused.value.code is code


async def test_sides_that_go_one_after_another_are_enough_at_some_time() -> None:
    through = Relay()

    class Going(Side):
        async def describe_namespace(self, request: DescribeNamespaceRequest) -> DescribeNamespaceResponse:
            through.lead_to(cast(Any, Going("next")))
            raise Rejected(StatusCode.UNAVAILABLE, "gone")

    through.lead_to(cast(Any, Going("first")))
    with pytest.raises(Rejected, match="10 processes went away"):
        await ask(through)


async def test_an_ended_relay_refuses_who_waits_and_who_comes() -> None:
    through = Relay()
    waiting = asyncio.ensure_future(ask(through))
    await asyncio.sleep(0)
    through.end("it is closed")
    for asked in (waiting, ask(through)):
        with pytest.raises(Rejected, match="it is closed"):
            await asked
