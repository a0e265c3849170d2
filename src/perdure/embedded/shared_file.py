"""A store's file that several processes share: one of them owns it, the others are its clients and workers.

Nobody is told which: the lock of the file decides. Who gets it runs the engine and opens the door beside the file
(`perdure.frontend.door`). Who does not calls through that door, and so does its worker. When the owner goes, however it
goes, each of the others tries the lock; one gets it, and the others find its door. What was called meanwhile waits in
the relay, or has failed and is repeated; what a surviving process runs goes on and is reported to the new owner
(ADR 0024). The owner's own calls and tasks know nothing of all this.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from perdure.api.errors import Rejected
from perdure.api.presence import BITS, presence
from perdure.frontend.door import Door
from perdure.frontend.near import Near
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.connection.relay import Relay
from perdure.stores.api import StoreError
from perdure.stores.sqlite.beside import Address
from perdure.stores.sqlite.lock_file import LockFile, open_lock_file
from perdure.stores.sqlite.ownership import PROTOCOL, OwnedError, read_owner

if TYPE_CHECKING:
    from perdure.sdk.connection.grpc import GrpcConnection

_log = logging.getLogger(__name__)

OPEN_WAIT_S = 15.0
"""How long `open` waits for the file or for an owner that answers."""
HELLO_S = 5.0
"""How long an owner may take to say hello: it may be recovering what another left."""
GRACE_S = 5.0
"""How long calls of others that are under way may last once the owner closes."""
FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.25
"""Between two tries for the file and the door."""


class SharedFile:
    """The home of an engine on a file: `rpcs` between `open` and `close`, on one event loop.

    Args:
        path: the file.
        make_near: makes the engine that runs here when this process owns the file; not opened yet.
        is_open_to_others: whether this process serves them once it owns the file, and owns it when its owner goes;
            False for a command, which has the file for a moment if nobody else has.

    Attributes:
        key: the instance key of this process's worker, by which others can tell that it lives.
        near: the engine, while this process owns the file; else None.
        on_owner: called when this process has come to own the file after it was a client.
    """

    def __init__(self, path: Path, make_near: Callable[[], Near], *, is_open_to_others: bool = True) -> None:
        self.key = presence(secrets.randbits(BITS))
        self.on_owner: Callable[[Connection], None] = _ignore
        self._path = path
        self._real = path.resolve()
        self._make_near = make_near
        self._is_open_to_others = is_open_to_others
        self.near: Near | None = None
        self._far: GrpcConnection | None = None
        self._address: Address | None = None
        self._door: Door | None = None
        self._lock_file: LockFile | None = None
        self._relay = Relay()
        self._following: asyncio.Task[None] | None = None

    @property
    def rpcs(self) -> Connection:
        """The engine itself in the process that owns the file; else what leads to it, wherever it is."""
        return self._relay.rpcs if self.near is None else self.near.rpcs

    async def open(self) -> None:
        """Own the file, or find who does. Raises StoreError: the message says why neither could be."""
        loop = asyncio.get_running_loop()
        until, pause_s = loop.time() + OPEN_WAIT_S, FIRST_PAUSE_S
        while True:
            try:
                await self._own()
                return
            except OwnedError as error:
                owned = error
            why = await self._join()
            if why is None:
                self._following = loop.create_task(self._follow(), name=f"owner of {self._path}")
                self._following.add_done_callback(_tell)
                return
            if loop.time() >= until:
                raise StoreError(f"{owned} It does not serve other processes ({why}).")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def close(self) -> None:
        """Let go of the file, or of its owner. Idempotent."""
        self._relay.end("the engine is closed")
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.wait((following,))
        await self._leave()
        door, self._door = self._door, None
        if door is not None:
            await door.close(GRACE_S)
        near, self.near = self.near, None
        if near is not None:
            await near.close()
        lock_file, self._lock_file = self._lock_file, None
        if lock_file is not None:
            lock_file.go(self.key)
            lock_file.close()

    # --- as the owner -----------------------------------------------------------------------------

    async def _own(self) -> None:
        """Raises OwnedError; StoreError when nobody owns the file and it cannot be opened."""
        near = self._make_near()
        if self._is_open_to_others:
            near.engine.living_workers = self._living
        # Not to be cut off between the lock and the first who knows of it: `close` waits for it.
        opening = asyncio.ensure_future(near.open())
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait((opening,))
            if not opening.cancelled() and opening.exception() is None:
                await near.close()
            raise
        self.near = near
        if not self._is_open_to_others:
            return
        door = Door(near.engine, near.services, self._real, self._locks())
        try:
            door.open()
        except OSError as error:
            _log.warning("other processes cannot share the store %s: %s", self._path, error)
            await door.close(0)
        else:
            self._door = door

    def _living(self) -> frozenset[str]:
        return self._locks().living()

    def _locks(self) -> LockFile:
        """Raises StoreError."""
        if self._lock_file is None:
            try:
                self._lock_file = open_lock_file(self._real, make=True)
            except OSError as error:
                raise StoreError(f"The lock file of {self._path} cannot be opened: {error}") from error
        return self._lock_file

    # --- as a client ------------------------------------------------------------------------------

    async def _join(self) -> str | None:
        """Call the owner from now on; or why it cannot be called. Raises StoreError when it never will."""
        owner = read_owner(self._real)
        if owner is not None and owner.protocol != PROTOCOL:
            await asyncio.sleep(LONGEST_PAUSE_S)
            if read_owner(self._real) != owner:
                return "its owner is just starting"  # what was read had been written by the one before it
            raise StoreError(
                f"The store {self._path} is owned by {owner}, whose perdure ({owner.version or 'an older one'}) cannot "
                "share it with this one: run the same perdure in all processes, or stop that one."
            )
        try:
            address = Address(self._real)
        except OSError as error:
            return str(error)
        why = address.why_closed()
        if why is not None:
            address.close()
            return why
        try:
            # It takes a moment to load, which an owner never needs.
            from perdure.sdk.connection.grpc import GrpcConnection
        except ImportError as error:
            address.close()
            raise StoreError(
                f"The store {self._path} is owned by another process, {owner}. To share it, install gRPC "
                f"({error.name} is missing): pip install 'perdure[grpc,server]'."
            ) from error
        far = GrpcConnection(f"unix:{address.name}")
        await far.open()
        self._far, self._address = far, address
        if not await far.is_there(HELLO_S):
            await self._leave()
            return f"{address.path} does not answer"
        try:
            await far.rpcs.get_system_info(GetSystemInfoRequest())
        except Rejected as refusal:
            await self._leave()
            return f"{address.path}: {refusal.message}"
        try:
            self._locks().enter(self.key)
        except OSError as error:
            await self._leave()
            raise StoreError(f"The lock file of {self._path} cannot be locked: {error}") from error
        self._relay.lead_to(far.rpcs)
        _log.info("the store %s is open in %s, which is asked for everything", self._path, owner)
        return None

    async def _leave(self) -> None:
        far, self._far = self._far, None
        address, self._address = self._address, None
        if far is not None:
            await far.close()
        if address is not None:
            address.close()

    async def _follow(self) -> None:
        """Until this process owns the file itself: whenever its owner has gone, try for it, and find who got it."""
        while True:
            assert self._far is not None, "it was joined"
            await self._far.lost()
            self._relay.lead_nowhere(f"the process that owned {self._path} has gone, and no other owns it yet")
            await self._leave()
            if await self._succeed():
                return

    async def _succeed(self) -> bool:
        """Whether this process owns the file now; else it is another's client."""
        pause_s, told = FIRST_PAUSE_S, ""
        while True:
            try:
                try:
                    if not self._is_open_to_others:
                        raise OwnedError("a command leaves the file to who works with it")
                    await self._own()
                except OwnedError:
                    if await self._join() is None:
                        return False
                else:
                    assert self.near is not None, "it was opened"
                    _log.info("the process that owned %s has gone; this one owns it now", self._path)
                    self._relay.lead_to(self.near.rpcs)
                    self.on_owner(self.near.rpcs)
                    return True
            except StoreError as error:  # perhaps it can be mended; whoever calls is told meanwhile
                self._relay.lead_nowhere(str(error))
                if str(error) != told:
                    told = str(error)
                    _log.error("the store cannot be taken over: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _tell(following: asyncio.Task[None]) -> None:
    """A fault of ours: calls are told that there is no owner, and the log why."""
    if not following.cancelled() and (error := following.exception()) is not None:
        _log.error("the owner of a store is looked for no more: open the engine again", exc_info=error)


def _ignore(_: Connection) -> None:
    """Nobody asked."""
