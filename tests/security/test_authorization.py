"""Who may do what, over the wire: every RPC that is served, by every kind of caller."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from google.protobuf.message import Message
from grpc import aio
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice import v1 as service

from perdure import AsyncClient, AsyncEngine, workflow
from perdure.core.names import ExecutionKey, TaskKind
from perdure.core.tokens import TaskToken, encode_token
from perdure.engine.matching.query_task import QueryToken
from perdure.frontend.authorization import AuthorizationConfig
from perdure.frontend.calls import Origin
from perdure.frontend.rpcs import WORKFLOW_SERVICE, Rpc, rpcs
from perdure.frontend.server.server import Server, ServerConfig
from perdure.frontend.tls import Certificate, TlsConfig
from perdure.security.roles import ACCESS, OPEN, Role, Scope
from perdure.security.token_rules import TokenRules
from perdure.stores.memory import MemoryStore
from tests.engine.world import completion, start_request, workflow_poll
from tests.frontend.given import Witness
from tests.security import tokens
from tests.security.certificates import Authority
from tests.security.tokens import AUDIENCE, EC, RSA, STRANGER, by_hand, key_set, save_keys, token
from tests.server.given import Client

PATIENCE_S = 20.0
PUBLIC = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
OURS, OTHER = "default", "billing"
DENIED = "Request unauthorized."


@workflow(name="authorization.greet")
def greet(name: str) -> str:
    return f"Hello {name}"


def config_of(directory: Path, **more: Any) -> AuthorizationConfig:
    return AuthorizationConfig(key_sources=[save_keys(directory)], rules=TokenRules(audience=AUDIENCE), **more)


@contextlib.asynccontextmanager
async def serving(config: AuthorizationConfig, *interceptors: Any) -> AsyncIterator[Server]:
    said = ServerConfig("127.0.0.1:0", "127.0.0.1:0", (OURS, OTHER), drain_ns=0, authorization=config)
    server = Server(MemoryStore(), said, interceptors)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def bearing(text: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {text}"),)


async def code_of(client: Client, rpc: Rpc, request: Message, metadata: Any, timeout: float = 1.0) -> str:
    """How a call ended. One that waits has been let in."""
    call = client.call(rpc.name, request, service=rpc.service, metadata=metadata, timeout=timeout)
    code = (await call.code()).name
    assert code != "PERMISSION_DENIED" or await call.details() == DENIED
    return code


def request_of(rpc: Rpc, namespace: str) -> Message:
    """One that passes the checks before the interceptors, and does nothing: it names what there is not."""
    request: Any = rpc.request()
    fields = rpc.request.DESCRIPTOR.fields_by_name
    if "namespace" in fields:
        request.namespace = namespace
    if "task_token" in fields and rpc.name != "RespondNexusTaskCompleted":
        key = ExecutionKey(namespace, "nobody's", "018f0000-0000-7000-8000-000000000000")
        if rpc.name == "RespondQueryTaskCompleted":
            request.task_token = msgspec.msgpack.encode(QueryToken(namespace, "q"))
        else:
            request.task_token = encode_token(TaskToken(key, TaskKind.WORKFLOW, 3, 1))
    return request


def served(server: Server) -> list[Rpc]:
    return [rpc for rpc in rpcs(server.services()) if rpc.handler is not None]


CALLERS: dict[str, tuple[str, Role, Role, Role]] = {
    # what is shown -> the role in the system, in OURS, in OTHER
    "nothing": ("", Role.UNDEFINED, Role.UNDEFINED, Role.UNDEFINED),
    "no role": (token(), Role.UNDEFINED, Role.UNDEFINED, Role.UNDEFINED),
    "worker": (token("default:worker"), Role.UNDEFINED, Role.WORKER, Role.UNDEFINED),
    "reader": (token("default:read"), Role.UNDEFINED, Role.READER, Role.UNDEFINED),
    "writer": (token("default:write"), Role.UNDEFINED, Role.WRITER, Role.UNDEFINED),
    "admin": (token("default:admin", key=EC, kid="ec", algorithm="ES256"), Role.UNDEFINED, Role.ADMIN, Role.UNDEFINED),
    "admin elsewhere": (token("billing:admin"), Role.UNDEFINED, Role.UNDEFINED, Role.ADMIN),
    "system reader": (token("temporal-system:read"), Role.READER, Role.READER, Role.READER),
    "system admin": (token("temporal-system:admin"), Role.ADMIN, Role.ADMIN, Role.ADMIN),
}
FORGED = {
    "expired": token("temporal-system:admin", exp=time.time() - 60),
    "not valid yet": token("temporal-system:admin", nbf=time.time() + 600),
    "for somebody else": token("temporal-system:admin", aud="another"),
    "for nobody": token("temporal-system:admin", aud=None),
    "a stranger's key": token("temporal-system:admin", key=STRANGER),
    "no such key": token("temporal-system:admin", kid="nobody"),
    "no id of a key": token("temporal-system:admin", kid=None),
    "the other kind's key": token("temporal-system:admin", kid="ec"),
    "signed by nobody": by_hand("none", b"", "temporal-system:admin"),
    "signed with the public key": by_hand("HS256", PUBLIC, "temporal-system:admin"),
    "no subject": token("temporal-system:admin", sub=None),
    "a subject that is no text": jwt.encode(
        tokens.claims("temporal-system:admin") | {"sub": 7}, RSA, "RS256", {"kid": "rsa"}
    ),
    "an end that is no time": token("temporal-system:admin", exp=None, nbf=True),
    "no token at all": "x.y.z",
    "very long": "x" * 20_000,
}


@pytest.mark.parametrize("caller", CALLERS)
def test_every_rpc_lets_in_whom_the_table_says(tmp_path: Path, caller: str) -> None:
    shown, system, ours, _ = CALLERS[caller]

    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            client = Client(server.address)
            wrong: list[str] = []
            found = served(server)
            assert len(found) > 60
            answers = await asyncio.gather(
                *(code_of(client, rpc, request_of(rpc, OURS), bearing(shown) if shown else ()) for rpc in found)
            )
            for rpc, code in zip(found, answers, strict=True):
                access = ACCESS[rpc.name]
                role = system if access.scope is Scope.CLUSTER else system | ours
                expected = rpc.name in OPEN or role >= access.role
                if (code != "PERMISSION_DENIED") is not expected:
                    wrong.append(f"{rpc.name}: {code}")
            assert wrong == []
            await client.channel.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("forged", FORGED)
def test_a_token_that_proves_nothing_lets_nobody_in(
    tmp_path: Path, forged: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            client = Client(server.address)
            refusals = await asyncio.gather(
                *(
                    code_of(client, rpc, request_of(rpc, OURS), bearing(FORGED[forged]))
                    for rpc in served(server)
                    if rpc.name not in OPEN
                )
            )
            assert set(refusals) == {"PERMISSION_DENIED"}
            await client.channel.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert "a caller at 127.0.0.1:" in caplog.text
    assert FORGED[forged] not in caplog.text, "a log is read by many"


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", token("default:admin")])
def test_a_header_of_another_kind_is_refused(tmp_path: Path, header: str) -> None:
    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            client = Client(server.address)
            error = await client.refusal(
                "ListWorkflowExecutions",
                service.ListWorkflowExecutionsRequest(namespace=OURS),
                metadata=(("authorization", header),),
            )
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            await client.channel.close()

    asyncio.run(scenario())


def test_what_a_command_or_a_token_names_is_asked_for_as_well(tmp_path: Path) -> None:
    """A worker of one namespace starts nothing in another, signals nothing there, and completes no task of it."""

    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            client = Client(server.address)
            writer, both = bearing(token("default:write")), bearing(token("default:write", "billing:write"))
            await client.call("StartWorkflowExecution", start_request("w"), metadata=writer)
            task = await client.call("PollWorkflowTaskQueue", workflow_poll(), metadata=writer)

            child = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
            attributes = child.start_child_workflow_execution_command_attributes
            attributes.namespace, attributes.workflow_id, attributes.workflow_type.name = OTHER, "stolen", "pay"
            request = completion(task.task_token, child)
            error = await client.refusal("RespondWorkflowTaskCompleted", request, metadata=writer)
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED

            key = ExecutionKey(OTHER, "w", "018f0000-0000-7000-8000-000000000000")
            stolen = encode_token(TaskToken(key, TaskKind.ACTIVITY, 5, 1))
            foreign = service.RespondActivityTaskCompletedRequest(task_token=stolen)
            error = await client.refusal("RespondActivityTaskCompleted", foreign, metadata=writer)
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            error = await client.refusal("RespondActivityTaskCompleted", foreign, metadata=both)
            assert error.code() is grpc.StatusCode.NOT_FOUND

            unknown = service.DescribeNamespaceRequest(namespace="a namespace that there is not")
            error = await client.refusal("DescribeNamespace", unknown, metadata=writer)
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED, "who may not ask is not told what there is"
            await client.channel.close()

    asyncio.run(scenario())


def test_reflection_and_metrics_are_for_the_system_and_health_is_for_everybody(tmp_path: Path) -> None:
    def get(url: str, shown: str = "") -> int:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {shown}"} if shown else {})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            metrics, system = f"http://{server.http_address}/metrics", token("temporal-system:read")
            assert await asyncio.to_thread(get, metrics) == 403
            assert await asyncio.to_thread(get, metrics, token("default:admin")) == 403
            assert await asyncio.to_thread(get, metrics, system) == 200
            assert await asyncio.to_thread(get, f"http://{server.http_address}/readyz") == 200
            async with aio.insecure_channel(server.address) as channel:
                health: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
                assert await health(b"", timeout=PATIENCE_S) == b"\x08\x01"
                reflection: Any = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
                refused = reflection(iter([b":\x00"]), timeout=PATIENCE_S)
                assert await refused.code() is grpc.StatusCode.PERMISSION_DENIED
                answer = await reflection(iter([b":\x00"]), timeout=PATIENCE_S, metadata=bearing(system)).read()
                assert b"WorkflowService" in answer

    asyncio.run(scenario())


def test_who_was_let_in_is_known_behind(tmp_path: Path) -> None:
    witness = Witness()

    async def scenario() -> None:
        async with serving(config_of(tmp_path), witness) as server:
            client = Client(server.address)
            await client.call("StartWorkflowExecution", start_request("w"), metadata=bearing(token("default:write")))
            await client.channel.close()

    asyncio.run(scenario())
    (call,) = [call for call in witness.of("StartWorkflowExecution") if call.origin is Origin.FAR]
    assert call.principal.name == "ada" and call.principal.address.startswith("127.0.0.1:")


def test_keys_that_are_new_are_taken_and_those_that_are_gone_are_not(tmp_path: Path) -> None:
    listing = service.ListWorkflowExecutionsRequest(namespace=OURS)

    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            client = Client(server.address)
            authorization = server.authorization
            assert authorization is not None and authorization._keys is not None
            await client.call("ListWorkflowExecutions", listing, metadata=bearing(token("default:read")))
            (tmp_path / "keys.json").write_text(json.dumps({"keys": key_set()["keys"][1:]}))
            await authorization._keys.fetch()
            error = await client.refusal("ListWorkflowExecutions", listing, metadata=bearing(token("default:read")))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            with_ec = token("default:read", key=EC, kid="ec", algorithm="ES256")
            await client.call("ListWorkflowExecutions", listing, metadata=bearing(with_ec))
            await client.channel.close()

    asyncio.run(scenario())


def test_our_client_and_worker_show_their_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            url = f"grpc://{server.address}"
            async with AsyncEngine(url, workflows=[greet], activities=[], api_key=token("default:write")) as engine:
                assert await engine.run(greet, "Ada") == "Hello Ada"
            client = await AsyncClient.connect(url, api_key=token("default:read"))
            assert len(await client.list("")) == 1
            await client.close()

    asyncio.run(scenario())


def test_the_subject_of_a_certificate_may_have_permissions(tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.pair().save(tmp_path, "server")
    pair = Certificate(cert_file=cert, key_file=key)
    tls = TlsConfig(server=pair, client_ca_files=[authority.save(tmp_path, "ca")], require_client_auth=True)
    allowed = AuthorizationConfig(subjects={"CN=billing worker,O=Acme": ["default:write"]})
    starting = start_request("w").SerializeToString()

    async def scenario() -> None:
        config = ServerConfig("127.0.0.1:0", "", drain_ns=0, authorization=allowed, tls=tls)
        server = Server(MemoryStore(), config)
        await server.start()
        codes: list[str] = []
        for name in ("billing worker", "somebody else"):
            mine = authority.pair(name, organization="Acme")
            credentials = grpc.ssl_channel_credentials(authority.cert, mine.key, mine.cert)
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with aio.secure_channel(server.address, credentials, options=options) as channel:
                start: Any = channel.unary_unary(f"/{WORKFLOW_SERVICE}/StartWorkflowExecution")
                codes.append((await start(starting, timeout=PATIENCE_S).code()).name)
        assert codes == ["OK", "PERMISSION_DENIED"]
        await server.stop()

    asyncio.run(scenario())


def test_a_permission_of_a_certificate_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'default:owner' of 'CN=me' is none: write <namespace>:<role>"):
        Server(MemoryStore(), ServerConfig(authorization=AuthorizationConfig(subjects={"CN=me": ["default:owner"]})))
