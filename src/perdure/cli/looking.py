"""Opens what a command works on: a store's file, or a server.

looking    reads. A file is read beside the engine that owns it or when none does: nothing in it is written, nothing
           is made, and what was missed while no engine was open stays missed until one is.
stored     reads what is stored, with no engine at all.
opened     changes what the command names, and nothing else. A file that an application has open is changed by that
           application's engine, over the socket beside the file; one that nobody has open is opened for the moment, and
           timers, schedules and messages are left to the next engine.

A database that engines share is worked on by one more engine, for the moment, which has no duties either: the others
hear of what it does. Neither makes the tables of a store, nor changes older ones: that is for engines to do.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import quote

from perdure import TLSConfig
from perdure.cli.output import plain_errors
from perdure.embedded import Engine, EngineSeams, seamed
from perdure.engine.node.config import EngineConfig
from perdure.errors import PerdureError
from perdure.stores.databases import StoreDatabase, reading
from perdure.stores.only_reads import only_reads
from perdure.stores.open import open_store, shown_url
from perdure.stores.reading import StoreFile, path_of
from perdure.stores.sqlite.ownership import owner_of
from perdure.stores.sqlite.read_only import ReadOnlyStore

_TLS = {
    "TLS_CA_FILE": "server_root_ca_cert",
    "TLS_CERT_FILE": "client_cert",
    "TLS_KEY_FILE": "client_private_key",
    "TLS_SERVER_NAME": "domain",
}
"""What the environment says after `PERDURE_`, by the fields of `TLSConfig`."""
_NO_DUTIES = EngineConfig(has_duties=False)


def is_server(store_url: str) -> bool:
    """Whether a URL names a server and not a file."""
    return store_url.startswith(("grpc://", "grpcs://"))


def is_file(store_url: str) -> bool:
    """Whether a URL names a file, and neither a server nor a database."""
    return store_url.startswith("sqlite:") or "://" not in store_url


def _far(url: str, namespace: str) -> Engine:
    """Of a server. Keys and certificates come from the environment: arguments are for everybody on the machine to read.

    Raises ValueError, PerdureError.
    """
    said = {name: os.environ.get(f"PERDURE_{name}") or None for name in (*_TLS, "API_KEY")}
    api_key = said.pop("API_KEY")
    tls = None
    if url.startswith("grpcs://") and any(said.values()):
        tls = TLSConfig(**{_TLS[name]: value for name, value in said.items()})
    return Engine(url, namespace=namespace, worker=False, tls=tls, api_key=api_key)


@contextmanager
def looking(store_url: str, namespace: str) -> Generator[Engine]:
    """An engine that answers questions and changes nothing. What goes wrong becomes one sentence."""
    seams = EngineSeams()
    with plain_errors(PerdureError, ValueError):
        if is_file(store_url):
            seams = EngineSeams(store=ReadOnlyStore(path_of(store_url)), engine_config=_NO_DUTIES)
        elif is_server(store_url):
            with _far(store_url, namespace) as engine:
                yield engine
            return
        else:
            store = only_reads(open_store(store_url, creates=False), shown_url(store_url))
            seams = EngineSeams(store=store, engine_config=_NO_DUTIES)
        with seamed(Engine, seams, store_url, namespace=namespace, worker=False) as engine:
            yield engine


@contextmanager
def stored(store_url: str) -> Generator[StoreFile | StoreDatabase]:
    """A store that is read as it is. What goes wrong becomes one sentence."""
    with plain_errors(), reading(store_url) as store:
        yield store


@contextmanager
def opened(store_url: str, namespace: str) -> Generator[Engine]:
    """An engine for one change. What goes wrong becomes one sentence."""
    with plain_errors(PerdureError, ValueError):
        if is_server(store_url):
            with _far(store_url, namespace) as engine:
                yield engine
            return
        url = f"sqlite:///{quote(store_url)}" if "://" not in store_url else store_url
        seams = EngineSeams(store=open_store(url, creates=False), engine_config=_NO_DUTIES)
        with seamed(Engine, seams, store_url, namespace=namespace, worker=False) as engine:
            yield engine


def owner(store_url: str) -> str | None:
    """Who has a file open, in words; None: nobody, and nothing in it goes on. Of a server or a database None too."""
    return owner_of(path_of(store_url)) if is_file(store_url) else None


def is_idle(store_url: str) -> bool:
    """Whether it is a file that no engine has open: then nothing in it goes on."""
    return is_file(store_url) and owner(store_url) is None
