"""One store under several engines: each has a face of its own, and through it hears what the others notify.

The stores that there are serve one engine at a time. What a store for many nodes adds is small (it is open more than
once, and it carries notices), so a memory store, or one SQLite file, stands in for one here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from perdure.stores.api import Hear, StoreError

Post = Callable[[Hear, bytes | None], None]
"""Carries one notice to one listener; a test may lose it, send it twice, or keep it back."""


def at_once(hear: Hear, notice: bytes | None) -> None:
    """In the next turn of the event loop."""
    asyncio.get_running_loop().call_soon(hear, notice)


class Shared:
    """The store behind the faces, opened with the first of them and closed with the last."""

    def __init__(self, inner: Any, post: Post = at_once) -> None:
        self.inner = inner
        self.post = post
        self.faces: list[Face] = []

    def face(self) -> Face:
        """What one engine is given as its store."""
        return Face(self)


class Face:
    """A `Store`, for one engine. Attributes: gap: call it to have this engine told that it may have missed notices."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._listeners: list[tuple[str, Hear]] = []

    is_shared = False  # a test says by its configuration which engines are nodes

    enlisting = None
    is_concurrent = False

    @property
    def transactional(self) -> Any:
        return self if self.shared.inner.transactional is not None else None

    async def open(self) -> None:
        if not self.shared.faces:
            await self.shared.inner.open()
        self.shared.faces.append(self)

    async def close(self) -> None:
        self._listeners.clear()
        if self in self.shared.faces:
            self.shared.faces.remove(self)
            if not self.shared.faces:
                await self.shared.inner.close()

    async def listen(self, channel: str, hear: Hear) -> None:
        self._check_open()
        self._listeners.append((channel, hear))

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        self._check_open()
        for face in self.shared.faces:
            if face is not self:
                face.hear(channel, notices)

    def hear(self, channel: str, notices: Sequence[bytes | None]) -> None:
        """Have the listeners of a channel told, as far as `post` carries it."""
        for listened, hear in self._listeners:
            if listened == channel:
                for notice in notices:
                    self.shared.post(hear, notice)

    def gap(self) -> None:
        """Have all listeners told that notices may have been lost."""
        for _, hear in self._listeners:
            self.shared.post(hear, None)

    def _check_open(self) -> None:
        if self not in self.shared.faces:
            raise StoreError("The store is not open: call `open()` before using it.")

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.shared.inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._check_open()
            return await method(*args, **kwargs)

        return call
