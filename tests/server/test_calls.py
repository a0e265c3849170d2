"""What a transport says of a call: who asks, until when, and by what it is found again."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from temporalio.api.workflowservice import v1 as service

from perdure.core.principal import Principal
from perdure.frontend.calls import Call, Origin, Proceed
from perdure.frontend.grpc.peer import address_text
from tests.engine.world import start_request
from tests.frontend.given import Witness
from tests.server.given import CODE, World, served

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_call_of_a_client_says_what_its_headers_say() -> None:
    witness = Witness()

    @served(interceptors=(witness,))
    async def scenario(world: World) -> None:
        before = time.monotonic()
        headers = (("authorization", "Bearer of bad news"), ("traceparent", TRACEPARENT), ("x-request-id", "r-1"))
        await world.client.call("StartWorkflowExecution", start_request(), timeout=60, metadata=headers)
        await world.client.call("GetSystemInfo", service.GetSystemInfoRequest())
        start, plain = witness.of("StartWorkflowExecution")[0], witness.of("GetSystemInfo")[-1]
        assert (start.origin, start.namespace, start.authorization) == (Origin.FAR, "default", "Bearer of bad news")
        assert start.trace is not None
        assert (start.trace.traceparent, start.trace.request_id) == (TRACEPARENT, "r-1")
        assert start.deadline is not None
        assert 50 < start.deadline - before < 70
        host, _, port = start.principal.address.rpartition(":")
        assert (start.principal.name, host) == ("", "127.0.0.1")
        assert port.isdigit()
        assert (plain.deadline, plain.authorization, plain.trace) == (None, "", None)

    scenario()


def test_what_an_interceptor_refuses_reaches_the_client_as_it_is() -> None:
    @served(interceptors=(Witness("StartWorkflowExecution"),))
    async def scenario(world: World) -> None:
        error = await world.client.refusal("StartWorkflowExecution", start_request())
        assert (error.code(), error.details()) == (CODE.PERMISSION_DENIED, "Request unauthorized.")
        assert world.transport.counts.refusals["StartWorkflowExecution", "PERMISSION_DENIED"] == 1

    scenario()


def test_an_authenticator_says_who_it_is_to_those_behind_it() -> None:
    async def authenticate(call: Call, request: Any, proceed: Proceed) -> Any:
        call.principal = Principal(call.authorization.removeprefix("Bearer "), call.principal.address)
        return await proceed(call, request)

    witness = Witness("mallory")

    @served(interceptors=(authenticate, witness))
    async def scenario(world: World) -> None:
        for name in ("alice", "mallory"):
            headers = (("authorization", f"Bearer {name}"),)
            call = world.client.call("StartWorkflowExecution", start_request(name), metadata=headers)
            (outcome,) = await asyncio.gather(call, return_exceptions=True)
            assert isinstance(outcome, Exception) == (name == "mallory"), outcome
        assert [call.principal.name for call in witness.of("StartWorkflowExecution")] == ["alice", "mallory"]

    scenario()


@served
async def test_an_authorization_that_is_said_twice_is_no_request(world: World) -> None:
    """A proxy may have let it pass by the one, and we would read the other."""
    twice = (("authorization", "Bearer alice"), ("authorization", "Bearer mallory"))
    error = await world.client.refusal("GetSystemInfo", service.GetSystemInfoRequest(), metadata=twice)
    assert error.code() in (CODE.INTERNAL, CODE.UNAVAILABLE), error
    traced = (("traceparent", TRACEPARENT), ("traceparent", "another"))
    assert await world.client.call("GetSystemInfo", service.GetSystemInfoRequest(), metadata=traced)


def test_an_address_is_written_so_that_it_can_be_read_again() -> None:
    assert address_text(("10.0.0.7", 7233)) == "10.0.0.7:7233"
    assert address_text(("::1", 7233, 0, 0)) == "[::1]:7233"
    assert address_text(None) == address_text("/tmp/socket") == ""
