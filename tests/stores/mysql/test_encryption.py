"""TLS, as the URL says: encrypted, and with whom."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.stores.api import StoreError
from perdure.stores.mysql import MysqlStore
from tests.servers.chosen import MYSQL
from tests.servers.fixtures import hold, new_mariadb_database
from tests.servers.server import Server
from tests.stores.given import APPLIED, Run

SUBJECT = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]


@pytest.fixture(scope="module")
def encrypted() -> Iterator[tuple[str, Path]]:
    """The address of a database, with `{host}` in it, and the certificate of its server, which signed itself."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # another user runs the server
        key, certificate = directory / "key.pem", directory / "certificate.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *SUBJECT]
        subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        key.chmod(0o644)
        settings = {"ssl-cert": str(certificate), "ssl-key": str(key)}
        server = hold(Server.private, MYSQL, durable=False, settings=settings)
        with server, new_mariadb_database(server) as database:
            yield f"mysql://root@{{host}}:{server.address['port']}/{database}", certificate


async def _cipher(address: str) -> str:
    """How a store's connections are encrypted; empty: they are not."""
    store = MysqlStore(address)
    await store.open()
    try:
        assert await store.commit([Run(address).commit(events=1)]) == [APPLIED]
        [answer] = await store._open().readers.query(b"SHOW STATUS LIKE 'Ssl_cipher'")
        return answer.rows[0][1]
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("localhost", "ssl_ca={ca}"),
        ("localhost", "ssl_mode=verify-full&ssl_ca={ca}"),
        ("127.0.0.1", "ssl_mode=verify-ca&ssl_ca={ca}"),
        ("127.0.0.1", "ssl_mode=required"),
    ],
)
def test_it_is_encrypted_with_whom_the_url_trusts(encrypted: tuple[str, Path], host: str, options: str) -> None:
    address, certificate = encrypted
    assert asyncio.run(_cipher(f"{address.format(host=host)}?{options.format(ca=certificate)}"))


def test_it_is_not_encrypted_unless_the_url_says_so(encrypted: tuple[str, Path]) -> None:
    assert asyncio.run(_cipher(encrypted[0].format(host="127.0.0.1"))) == ""


@pytest.mark.parametrize(
    ("host", "options"),
    [("127.0.0.1", "ssl_ca={ca}"), ("localhost", "ssl_mode=verify-ca"), ("localhost", "ssl_mode=verify-full")],
)
def test_who_is_not_trusted_is_not_talked_to(encrypted: tuple[str, Path], host: str, options: str) -> None:
    address, certificate = encrypted
    with pytest.raises(StoreError, match="certificate verify failed"):
        asyncio.run(_cipher(f"{address.format(host=host)}?{options.format(ca=certificate)}"))
