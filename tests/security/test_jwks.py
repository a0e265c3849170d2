"""Key sets: which keys of one are taken, from where, and when they are asked for again."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from perdure.frontend.authorization import Authorization, AuthorizationConfig
from perdure.security.jwks import HASTE_S, Jwks, JwksError, keys_of
from tests.security.tokens import key_set


class Source:
    """A server of one key set, which counts who asks."""

    def __init__(self) -> None:
        source = self
        self.asked = 0
        self.body = json.dumps(key_set()).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.asked += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(source.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: a test's output is read."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def source() -> Generator[Source]:
    found = Source()
    yield found
    found.close()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_keys_come_over_http_and_an_unknown_one_is_asked_for_but_not_at_everybodys_whim(source: Source) -> None:
    clock = Clock()

    async def scenario() -> None:
        keys = Jwks([source.url], monotonic=clock)
        await keys.fetch()
        assert await keys.find("rsa") is not None and source.asked == 1
        for _ in range(50):
            assert await keys.find("made up") is None
        assert source.asked == 1
        source.body = json.dumps(key_set(new=key_set()["keys"][0])).encode()
        clock.now += HASTE_S
        found = await asyncio.gather(*(keys.find("new") for _ in range(20)))
        assert None not in found and source.asked == 2 and keys.generation == 2

    asyncio.run(scenario())


def test_a_source_that_is_out_of_order_costs_no_key(source: Source, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()

    async def scenario() -> None:
        keys = Jwks([source.url], monotonic=clock)
        await keys.fetch()
        for body in (
            b"",
            b"[]",
            b"{}",
            b'{"keys": []}',
            b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]',
            b"x" * (2 << 20),
        ):
            source.body = body
            clock.now += HASTE_S
            assert await keys.find("made up") is None
            assert await keys.find("ec") is not None
        assert keys.generation == 1

    asyncio.run(scenario())
    assert caplog.text.count("the keys of tokens stay as they were") == 6


def test_without_keys_a_server_does_not_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in (str(tmp_path / "none.json"), f"file://{tmp_path}/none.json"):
            with pytest.raises(JwksError, match=r"none\.json"):
                await Authorization(AuthorizationConfig(key_sources=[name])).start()

    asyncio.run(scenario())


def test_only_keys_that_may_sign_are_taken() -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}
    rsa = key_set()["keys"][0]
    said = key_set(shared=secret, sealing={**rsa, "use": "enc"}, longer={**rsa, "alg": "RS512"})
    assert sorted(keys_of(json.dumps(said).encode(), "here")) == ["ec", "rsa"]
