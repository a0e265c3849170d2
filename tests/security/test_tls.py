"""TLS of the server's ports, with real handshakes on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest, GetSystemInfoResponse
from temporalio.client import Client as TemporalClient
from temporalio.client import TLSConfig as TemporalTLSConfig

from perdure import AsyncClient, AsyncEngine, EngineError, TLSConfig, workflow
from perdure.frontend.authorization import AuthorizationConfig
from perdure.frontend.grpc.peer import ALPN, distinguished
from perdure.frontend.server.server import Server, ServerConfig
from perdure.frontend.tls import Certificate, Tls, TlsConfig, TlsError
from perdure.stores.memory import MemoryStore
from tests.frontend.given import Witness
from tests.security.certificates import Authority, Pair

AUTHORITY, OTHER = Authority(), Authority("somebody else")
SERVER, CLIENT = AUTHORITY.pair(), AUTHORITY.pair("billing worker", organization="Acme, Inc.")
PATIENCE_S = 20.0


@workflow(name="tls.greet")
def greet(name: str) -> str:
    return f"Hello {name}"


def config_of(directory: Path, *, mutual: bool = False, **more: Any) -> TlsConfig:
    cert, key = SERVER.save(directory, "server")
    authorities = [AUTHORITY.save(directory, "clients")] if mutual else []
    pair = Certificate(cert_file=cert, key_file=key)
    return TlsConfig(server=pair, client_ca_files=authorities, require_client_auth=mutual, **more)


@contextlib.asynccontextmanager
async def serving(tls: TlsConfig, *interceptors: Any) -> AsyncIterator[Server]:
    server = Server(MemoryStore(), ServerConfig("127.0.0.1:0", "127.0.0.1:0", drain_ns=0, tls=tls), interceptors)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def ask(address: str, ca: bytes = AUTHORITY.cert, pair: Pair | None = None, name: str = "localhost") -> None:
    """One call on a connection of its own. Raises AioRpcError."""
    credentials = grpc.ssl_channel_credentials(ca, pair and pair.key, pair and pair.cert)
    options = [("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1)]
    async with aio.secure_channel(address, credentials, options=options) as channel:
        call: Any = channel.unary_unary(
            "/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo",
            request_serializer=GetSystemInfoRequest.SerializeToString,
            response_deserializer=GetSystemInfoResponse.FromString,
        )
        await call(GetSystemInfoRequest(), timeout=PATIENCE_S)


async def refused(address: str, **options: Any) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await ask(address, **options)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def shown(address: str, name: str) -> bytes:
    """The certificate that whoever asks for this host is shown, DER."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cadata=AUTHORITY.cert.decode())
    context.set_alpn_protocols([ALPN])
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)
    try:
        await asyncio.wait_for(reader.readexactly(9), PATIENCE_S)  # the server's SETTINGS: it is served
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.cert.decode())


def heard(host: str, port: int, context: ssl.SSLContext) -> bytes:
    """What the server says first; nothing if it cuts the connection, in the handshake or after it."""
    with socket.create_connection((host, port), PATIENCE_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                return connection.recv(100)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_a_client_that_trusts_the_authority_is_served_and_others_are_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            await ask(server.address)
            await refused(server.address, ca=OTHER.cert)
            await refused(server.address, name="elsewhere.example.com")
            async with aio.insecure_channel(server.address) as channel:
                call: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
                with pytest.raises(aio.AioRpcError):
                    await call(b"", timeout=PATIENCE_S)

    asyncio.run(scenario())


def test_the_side_door_has_it_too(tmp_path: Path) -> None:
    def get(url: str) -> str:
        context = ssl.create_default_context(cadata=AUTHORITY.cert.decode())
        with urllib.request.urlopen(url, timeout=PATIENCE_S, context=context) as answer:
            return answer.read().decode()

    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            assert await asyncio.to_thread(get, f"https://{server.http_address}/healthz") == "serving\n"
            with pytest.raises((urllib.error.URLError, OSError)):
                await asyncio.to_thread(get, f"http://{server.http_address}/healthz")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("offered", "version"),
    [(["http/1.1"], None), ([], None), ([ALPN], ssl.TLSVersion.TLSv1_1)],
    ids=["http/1.1", "no ALPN", "TLS 1.1"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_who_does_not_speak_http_2_over_a_sound_tls_is_put_out(
    tmp_path: Path, offered: list[str], version: ssl.TLSVersion | None
) -> None:
    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            host, _, port = server.address.rpartition(":")
            context = ssl.create_default_context(cadata=AUTHORITY.cert.decode())
            if offered:
                context.set_alpn_protocols(offered)
            if version is not None:
                context.minimum_version = context.maximum_version = version
                context.set_ciphers("ALL:@SECLEVEL=0")
            assert await asyncio.to_thread(heard, host, int(port), context) == b""
            await ask(server.address)

    asyncio.run(scenario())


def test_with_mutual_tls_who_shows_no_certificate_of_ours_is_refused(tmp_path: Path) -> None:
    witness = Witness()

    async def scenario() -> None:
        async with serving(config_of(tmp_path, mutual=True), witness) as server:
            await refused(server.address)
            await refused(server.address, pair=OTHER.pair("billing worker"))
            await refused(server.address, pair=AUTHORITY.pair("billing worker", days=-1))
            assert witness.calls == []
            await ask(server.address, pair=CLIENT)

    asyncio.run(scenario())
    assert [call.subject for call in witness.calls] == ["CN=billing worker,O=Acme\\, Inc."]


def test_a_certificate_may_be_shown_where_none_is_required(tmp_path: Path) -> None:
    witness = Witness()
    config = config_of(tmp_path, mutual=True)
    config = TlsConfig(server=config.server, client_ca_files=config.client_ca_files)

    async def scenario() -> None:
        async with serving(config, witness) as server:
            await ask(server.address)
            await ask(server.address, pair=CLIENT)
            await refused(server.address, pair=OTHER.pair("billing worker"))

    asyncio.run(scenario())
    assert [call.subject for call in witness.calls] == ["", "CN=billing worker,O=Acme\\, Inc."]


def test_a_host_may_have_a_certificate_of_its_own(tmp_path: Path) -> None:
    orders = AUTHORITY.pair("orders.example.com", "orders.example.com")
    cert, key = orders.save(tmp_path, "orders")
    config = config_of(tmp_path, host_overrides={"Orders.example.com": Certificate(cert_file=cert, key_file=key)})

    async def scenario() -> None:
        async with serving(config) as server:
            assert await shown(server.address, "orders.example.com") == der(orders)
            assert await shown(server.address, "localhost") == der(SERVER)

    asyncio.run(scenario())


def test_certificates_are_replaced_under_load_without_a_call_that_fails(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = config_of(tmp_path)
        async with serving(config) as server:
            assert server.tls is not None
            served, stop = asyncio.Semaphore(0), asyncio.Event()

            async def load() -> None:
                while not stop.is_set():
                    await ask(server.address)
                    served.release()

            loads = [asyncio.create_task(load()) for _ in range(4)]
            for _ in range(5):
                new = AUTHORITY.pair()
                new.save(tmp_path, "server")
                assert server.tls.refresh()
                assert await shown(server.address, "localhost") == der(new)
                async with asyncio.timeout(PATIENCE_S):
                    for _ in range(8):
                        await served.acquire()
            stop.set()
            await asyncio.gather(*loads)  # raises what any call did

    asyncio.run(scenario())


def test_an_authority_that_is_gone_signs_for_nobody_any_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(config_of(tmp_path, mutual=True)) as server:
            assert server.tls is not None and not server.tls.refresh()
            await ask(server.address, pair=CLIENT)
            OTHER.save(tmp_path, "clients")
            assert server.tls.refresh()
            await refused(server.address, pair=CLIENT)
            await ask(server.address, pair=OTHER.pair("billing worker"))

    asyncio.run(scenario())


def test_files_that_do_not_fit_leave_the_old_ones_in_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(config_of(tmp_path)) as server:
            assert server.tls is not None
            new = AUTHORITY.pair()
            (tmp_path / "server.crt").write_bytes(new.cert)  # its key is still to come
            assert not server.tls.refresh()
            assert not server.tls.refresh()
            assert await shown(server.address, "localhost") == der(SERVER)
            assert caplog.text.count("they do not fit each other") == 1
            (tmp_path / "server.key").write_bytes(new.key)
            assert server.tls.refresh()
            assert await shown(server.address, "localhost") == der(new)
            (tmp_path / "server.crt").unlink()
            assert not server.tls.refresh()
            await ask(server.address)
            assert "server.crt: No such file or directory" in caplog.text

    asyncio.run(scenario())


def test_a_certificate_that_ends_soon_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        for days, level, words in [(10, "WARNING", "expires in 10.0 days"), (1, "ERROR", "1.0 days"), (20, "", "")]:
            caplog.clear()
            pair = AUTHORITY.pair(days=days)
            cert, key = pair.save(tmp_path, "soon")
            tls = Tls(TlsConfig(server=Certificate(cert_file=cert, key_file=key)))
            tls.start()
            tls.stop()
            said = [record for record in caplog.records if "soon.crt" in record.getMessage()]
            assert [record.levelname for record in said] == ([level] if level else [])
            assert all(words in record.getMessage() for record in said)

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    cert, key = SERVER.save(tmp_path, "server")
    _, other_key = CLIENT.save(tmp_path, "client")
    (tmp_path / "empty.crt").write_text("nothing\n")
    cases = [
        (TlsConfig(server=Certificate(cert_file=str(tmp_path / "none.crt"), key_file=key)), "none.crt: No such file"),
        (TlsConfig(server=Certificate(cert_file=cert, key_file=str(tmp_path / "none.key"))), "none.key: No such file"),
        (TlsConfig(server=Certificate(cert_file=cert, key_file=other_key)), "they do not fit each other"),
        (TlsConfig(server=Certificate(cert_file=str(tmp_path / "empty.crt"), key_file=key)), "empty.crt: "),
        (TlsConfig(server=Certificate(cert_file=cert, key_file=key), require_client_auth=True), "clientCaFiles"),
    ]
    for config, words in cases:
        with pytest.raises(TlsError, match=words):
            Server(MemoryStore(), ServerConfig(tls=config))


@pytest.mark.parametrize("address", ["0.0.0.0:7233", "[::]:7233", "10.0.0.7:7233", "orders.example.com:7233"])
def test_nobody_else_is_let_near_a_server_that_nothing_protects(tmp_path: Path, address: str) -> None:
    for config in (ServerConfig(address=address), ServerConfig(http_address=address)):
        with pytest.raises(ValueError, match=r"--tls-cert-file .* --insecure"):
            Server(MemoryStore(), config)
    Server(MemoryStore(), ServerConfig(address=address, insecure=True))
    Server(MemoryStore(), ServerConfig(address=address, tls=config_of(tmp_path, mutual=True)))
    tls = config_of(tmp_path)
    with pytest.raises(ValueError, match=r"--tls-client-ca-file, or \[authorization\] .* --insecure"):
        Server(MemoryStore(), ServerConfig(address=address, tls=tls))
    users = AuthorizationConfig(subjects={"CN=me": ["default:read"]})
    Server(MemoryStore(), ServerConfig(address=address, tls=tls, authorization=users))


def test_our_engine_and_the_official_sdk_work_through_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(config_of(tmp_path, mutual=True)) as server:
            url = f"grpcs://{server.address}"
            (tmp_path / "client.crt").write_bytes(CLIENT.cert)
            tls = TLSConfig(
                server_root_ca_cert=AUTHORITY.cert,
                client_cert=tmp_path / "client.crt",
                client_private_key=CLIENT.key,
            )
            async with AsyncEngine(url, workflows=[greet], activities=[], tls=tls) as engine:
                assert await engine.run(greet, "Ada") == "Hello Ada"
            official = await TemporalClient.connect(
                server.address,
                tls=TemporalTLSConfig(
                    server_root_ca_cert=AUTHORITY.cert, client_cert=CLIENT.cert, client_private_key=CLIENT.key
                ),
            )
            assert [one.id async for one in official.list_workflows("")] != []
            other_name = TLSConfig(
                server_root_ca_cert=AUTHORITY.cert,
                client_cert=CLIENT.cert,
                client_private_key=CLIENT.key,
                domain="localhost",
            )
            client = await AsyncClient.connect(url, tls=other_name)
            await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("grpc://127.0.0.1:1", {"tls": TLSConfig()}, "write grpcs://"),
        ("grpcs://127.0.0.1:1", {"tls": True}, "perdure.TLSConfig"),
        ("grpc://10.0.0.7:7233", {"api_key": "secret"}, "everybody on the way can read it: write grpcs://"),
        ("grpcs://10.0.0.7:7233", {"api_key": "two words"}, "without spaces"),
        ("sqlite:///x.db", {"api_key": "secret"}, "is for servers"),
    ],
)
def test_what_would_be_unsafe_is_refused_before_anything_is_sent(url: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AsyncEngine(url, **options)


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        TLSConfig(client_cert=CLIENT.cert)
    with pytest.raises(EngineError, match=r"server_root_ca_cert: /nowhere/ca.pem: No such file"):
        AsyncEngine("grpcs://127.0.0.1:1", tls=TLSConfig(server_root_ca_cert="/nowhere/ca.pem"))


def test_a_subject_is_written_as_rfc_4514_has_it() -> None:
    name = ((("countryName", "DE"),), (("organizationName", "Sue, Grabbit + Runn"),), (("commonName", "#1 "),))
    assert distinguished(name) == "CN=\\#1\\ ,O=Sue\\, Grabbit \\+ Runn,C=DE"
