"""Keys that tokens are verified with: JSON Web Key Sets (RFC 7517) of files and URLs, fetched from time to time."""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import jwt

from perdure.security.tokens import ALGORITHMS, Key

_log = logging.getLogger(__name__)

FETCH_S_MAX = 10.0
BYTES_MAX = 1 << 20
"""Of one source."""
HASTE_S = 10.0
"""For a key that is not known the sources are asked at once, but not more often than this: anybody can make one up."""


class JwksError(ValueError):
    """A source cannot be read; the message says which and why."""


class Jwks:
    """The keys of all sources together; the later source wins. Satisfies `tokens.Keys`.

    Args:
        sources: URLs (https, http, file), or paths.
        refresh_s: how often they are asked.
    """

    def __init__(
        self, sources: Sequence[str], refresh_s: float = 60.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources, self._refresh_s, self._monotonic = tuple(sources), refresh_s, monotonic
        self._keys: dict[str, Key] = {}
        self.generation = 0
        self._asked_at = -HASTE_S
        self._asking = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fetch, and go on fetching until `stop`. Raises JwksError: without keys nobody could be let in."""
        await self.fetch()
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh(), name="keys of tokens")

    def stop(self) -> None:
        """Idempotent."""
        if self._refreshing is not None:
            self._refreshing.cancel()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            await self._try()

    async def _try(self) -> None:
        """Fetch; keys that cannot be fetched are those that were."""
        async with self._asking:
            if self._monotonic() - self._asked_at < min(HASTE_S, self._refresh_s):
                return
            try:
                await self.fetch()
            except JwksError as error:
                _log.error("the keys of tokens stay as they were: %s", error)

    async def fetch(self) -> None:
        """Ask every source. Raises JwksError; then the keys are those from before."""
        self._asked_at = self._monotonic()
        sets = await asyncio.gather(*(asyncio.to_thread(_read, source) for source in self._sources))
        keys: dict[str, Key] = {}
        for source, data in zip(self._sources, sets, strict=True):
            keys.update(keys_of(data, source))
        if _shown(keys) != _shown(self._keys):
            self._keys = keys
            self.generation += 1

    async def find(self, kid: str) -> Key | None:
        """See `tokens.Keys`."""
        if kid not in self._keys:
            await self._try()
        return self._keys.get(kid)


def keys_of(data: bytes, source: str) -> dict[str, Key]:
    """The keys of a set that can have signed a token, by id. Raises JwksError."""
    try:
        found = jwt.PyJWKSet.from_json(data.decode())
    except (jwt.PyJWTError, ValueError, AttributeError, TypeError) as error:
        raise JwksError(f"{source} is no JSON Web Key Set with a key that is understood: {error}") from error
    keys: dict[str, Key] = {}
    for one in found.keys:
        algorithm = ALGORITHMS.get(str(one.key_type))
        if algorithm is None or not one.key_id or one.algorithm_name != algorithm or one.public_key_use == "enc":
            _log.debug("%s: the key %s is for nothing here", source, one.key_id)
            continue
        secret_or_public: Any = one.key
        public = secret_or_public.public_key() if hasattr(secret_or_public, "public_key") else secret_or_public
        keys[one.key_id] = Key(algorithm, public)
    return keys


def _shown(keys: dict[str, Key]) -> dict[str, Any]:
    """By what keys are compared."""
    return {kid: (key.algorithm, key.key.public_numbers()) for kid, key in keys.items()}


def _read(source: str) -> bytes:
    """Raises JwksError."""
    parts = urlsplit(source)
    try:
        if parts.scheme in ("http", "https"):
            with urllib.request.urlopen(source, timeout=FETCH_S_MAX) as answer:
                data = answer.read(BYTES_MAX + 1)
        else:
            path = url2pathname(parts.path) if parts.scheme == "file" else source
            with open(path, "rb") as file:
                data = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise JwksError(f"{source}: {error}") from error
    if len(data) > BYTES_MAX:
        raise JwksError(f"{source} has more than {BYTES_MAX} bytes")
    return data
