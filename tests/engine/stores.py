"""Stores that misbehave: a wrapper around the memory store that fails, stalls or loses races on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from perdure.core.commit import Commit
from perdure.stores.api import Outcome, StoreError, Unstorable
from perdure.stores.memory import MemoryStore


class WrappedStore:
    """Passes everything on to a memory store that any number of engines may open.

    Attributes:
        conflicts: so many of the next commits are refused as lost races, nothing of them written.
        fails: asked with the method's name before each call; True raises StoreError.
        breaks: likewise, but raises an error that no store should raise.
        refuses: asked of each commit; True: that one is Unstorable.
        chokes: asked of each commit; True: the whole batch raises an error that no store should raise.
        gate: while set to a cleared event, commits wait for it.
        batches: the size of every commit batch.
    """

    def __init__(self, inner: MemoryStore | None = None) -> None:
        self.inner = inner or MemoryStore()
        self.conflicts = 0
        self.fails: Callable[[str], bool] = lambda method: False
        self.breaks: Callable[[str], bool] = lambda method: False
        self.refuses: Callable[[Commit], bool] = lambda commit: False
        self.chokes: Callable[[Commit], bool] = lambda commit: False
        self.gate: asyncio.Event | None = None
        self.batches: list[int] = []
        self.calls: list[str] = []
        self._openers = 0

    is_shared = False

    enlisting = None
    is_concurrent = False

    @property
    def transactional(self) -> Any:
        return self

    async def open(self) -> None:
        self._openers += 1
        if self._openers == 1:
            await self.inner.open()

    async def close(self) -> None:
        self._openers = max(0, self._openers - 1)
        if self._openers == 0:
            await self.inner.close()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Outcome | Unstorable]:
        await self._check("commit")
        if self.gate is not None:
            await self.gate.wait()
        self.batches.append(len(commits))
        if any(self.chokes(commit) for commit in commits):
            raise ZeroDivisionError("a bug of the store")
        refused = [Unstorable("no column is wide enough", True) if self.refuses(commit) else None for commit in commits]
        fates = [refusal or (Outcome.CONFLICT if self._loses() else None) for refusal in refused]
        written = [commit for commit, fate in zip(commits, fates, strict=True) if fate is None]
        applied = iter(await self.inner.commit(written))
        return [next(applied) if fate is None else fate for fate in fates]

    def _loses(self) -> bool:
        self.conflicts -= 1
        return self.conflicts >= 0

    async def _check(self, method: str) -> None:
        self.calls.append(method)
        if self.fails(method):
            raise StoreError("the disk is on fire: put it out")
        if self.breaks(method):
            raise ZeroDivisionError("a bug of the store")

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._check(name)
            return await method(*args, **kwargs)

        return call
