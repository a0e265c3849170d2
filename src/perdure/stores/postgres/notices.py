"""Notices between the engines on one database: PostgreSQL's NOTIFY, which may lose them and says when it may have.

They are sent beside commits and not in them, for a transaction that notifies waits for all others that do. Where
connections go through a pooler nothing can be heard: then every listener is told, once in a while, that it may have
missed something.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from perdure.stores.api import Hear, StoreError
from perdure.stores.postgres.door import Door
from perdure.stores.postgres.driver import Connection
from perdure.stores.postgres.errors import is_lost, store_error
from perdure.stores.postgres.queries import query
from perdure.stores.postgres.url import shown
from perdure.stores.sql.waiting import Patience

_log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often listeners look for themselves where nothing can be heard."""
_PAYLOAD_MAX = 7_999
"""Characters that PostgreSQL carries."""
_LOST = "-"
"""What is sent in the place of a notice that is too long."""


_NAME_BYTES = 4
_STRANGER = "-" * 2 * _NAME_BYTES
"""Who told it, where that is no engine."""


@lru_cache(maxsize=64)
def _channel_of(schema: str, channel: str) -> str:
    """A channel as the database names it, with 63 bytes at most."""
    place = blake2b(f"{schema}\0{channel}".encode(), digest_size=8).hexdigest()
    return f"perdure_{place}"


def _text_of(notice: bytes) -> str:
    """As base64, which costs nothing in Python; base 85 is computed there, and every node hears every notice."""
    return b2a_base64(notice, newline=False).decode()


def strange_notice(schema: str, channel: str, notice: bytes) -> tuple[str, str]:
    """Channel and payload of a short notice that a program tells the engines, by `pg_notify`."""
    return _channel_of(schema, channel), _STRANGER + _text_of(notice)


class Notices:
    """One connection for all channels, which hears and tells."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._dsn = door.settings.listen_dsn
        # What goes wrong here goes wrong at the database itself, not at the pooler before it.
        self._settings = replace(door.settings, shown=shown(self._dsn or door.settings.dsn))
        self._notify = query("notify")
        self._name = secrets.token_hex(_NAME_BYTES)
        self._listeners: dict[str, list[Hear]] = {}
        self._named: dict[str, list[Hear]] = {}
        """The same, by the names that the database has for the channels."""
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._is_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def listen(self, channel: str, hear: Hear) -> None:
        """Have `hear` called from now on; what was told before this returns may be missed. Raises StoreError."""
        known = self._listeners.setdefault(channel, [])
        known.append(hear)
        self._named[self._channel(channel)] = known
        if self._task is None:
            if self._dsn is not None:
                try:
                    await self._connect()
                except Exception as error:
                    raise store_error(error, self._settings) from error
            self._task = asyncio.get_running_loop().create_task(self._run(), name="Notices")
        elif self._connection is not None and len(known) == 1:
            try:
                await self._connection.add_listener(self._channel(channel), self._hear)
            except Exception as error:
                if not is_lost(error):
                    raise store_error(error, self._settings) from error
                self._connection.terminate()  # the next one listens to all channels

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        """Tell the others. Raises StoreError."""
        if self._dsn is None or not notices:
            return
        payloads = [self._name + _text_of(notice) for notice in notices]
        payloads = [one if len(one) <= _PAYLOAD_MAX else self._name + _LOST for one in payloads]
        connection = self._connection
        if connection is None or connection.is_closed():
            raise StoreError(f"The store {self._settings.shown} cannot be reached to tell the other engines.")
        try:
            async with asyncio.timeout(self._door.settings.timeout_s):
                await connection.execute(self._notify, self._channel(channel), payloads)
        except Exception as error:
            if is_lost(error):
                connection.terminate()
            raise store_error(error, self._settings) from error

    async def close(self) -> None:
        """Hear nothing more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._listeners.clear()
        self._named.clear()
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _channel(self, channel: str) -> str:
        return _channel_of(self._door.settings.schema, channel)

    async def _connect(self) -> None:
        connection = await self._door.connect("notices", dsn=self._dsn)
        try:
            for channel in list(self._listeners):
                await connection.add_listener(self._channel(channel), self._hear)
            await connection.execute("SET synchronous_commit = off")  # a notice is durable nowhere
        except BaseException:
            connection.terminate()
            raise
        self._lost.clear()
        connection.add_termination_listener(self._ended)
        self._connection = connection

    def _ended(self, connection: Any) -> None:
        if connection is self._connection:
            self._lost.set()

    def _hear(self, connection: Any, process: int, name: str, payload: str) -> None:
        if payload.startswith(self._name):
            return
        text = payload[len(self._name) :]
        try:
            notice = None if text == _LOST else a2b_base64(text)
        except ValueError:  # `binascii.Error` is one
            notice = None  # nobody of ours sent that
        for hear in self._named.get(name, ()):
            hear(notice)

    def _gap(self) -> None:
        for listeners in self._listeners.values():
            for hear in listeners:
                hear(None)

    async def _run(self) -> None:
        while self._dsn is None:
            await asyncio.sleep(POLL_S)
            self._gap()
        while True:
            await self._lost.wait()
            self._connection = None
            patience = Patience(0.0)
            while self._connection is None:
                await patience.pause()
                try:
                    await self._connect()
                except Exception as error:
                    if not is_lost(error):
                        _log.warning("notices of the other engines cannot be heard, trying on: %s", error)
            self._gap()
