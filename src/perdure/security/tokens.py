"""Who calls, of a JSON Web Token: Temporal's default claim mapper (common/authorization/default_jwt_claim_mapper.go).

The header is `Bearer <token>`; the token is signed with RS256 or ES256 by a key that is known under its `kid`, and has
not expired. `sub` is who calls. The claim `permissions` is a list of `<namespace>:<role>`, where `temporal-system` is
the system as a whole; what is none of that is passed over with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Protocol, cast

import jwt
import msgspec

from perdure.security.roles import Claims, claims_of
from perdure.security.token_rules import BadToken, TokenRules, pattern_of

_log = logging.getLogger(__name__)

ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""By the kind of key. No other is taken, whatever the token says: `none` and shared secrets prove nothing."""
TOKEN_CHARS_MAX = 16 << 10
KNOWN_MAX = 1_000
"""Tokens that are known by heart until they expire, so that a client's every call costs no signature."""


class Key(msgspec.Struct, frozen=True):
    """A public key, and what it may have signed with."""

    algorithm: str
    key: Any


class Keys(Protocol):
    """Where keys are found."""

    generation: int
    """Another one whenever keys are others: what was verified before is to be verified again."""

    async def find(self, kid: str) -> Key | None:
        """The key of this id, fetched if need be; None: there is none."""
        ...


class _Known(msgspec.Struct):
    claims: Claims
    until_s: float
    generation: int


class Tokens:
    """Maps headers to claims. Raises ValueError for a pattern that is none."""

    def __init__(self, keys: Keys, rules: TokenRules, wall_s: Any) -> None:
        self._keys, self._rules, self._wall_s = keys, rules, wall_s
        self._known: dict[str, _Known] = {}
        self._pattern = pattern_of(rules.permissions_pattern)

    async def claims(self, token: str) -> Claims:
        """What a token proves. Raises BadToken."""
        now = self._wall_s()
        known = self._known.get(token)
        if known is not None and known.until_s > now and known.generation == self._keys.generation:
            return known.claims
        if len(token) > TOKEN_CHARS_MAX:
            raise BadToken(f"a token of {len(token)} characters")
        try:
            head = jwt.get_unverified_header(token)
            kid, algorithm = head.get("kid"), head.get("alg")
            if not isinstance(kid, str) or algorithm not in ALGORITHMS.values():
                raise BadToken(f"a token with kid {kid!r} and alg {algorithm!r}")
            key = await self._keys.find(kid)
            if key is None or key.algorithm != algorithm:
                raise BadToken(f"no {algorithm} key has the id {kid!r}")
            said = self._verified(token, key, now)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise BadToken(f"{type(error).__name__}: {error}") from error
        claims = self._claims(said)
        self._keep(token, claims, said.get("exp"), now)
        return claims

    def _verified(self, token: str, key: Key, now: float) -> dict[str, Any]:
        """Raises PyJWTError, BadToken."""
        rules = self._rules
        # Times are compared here, with the clock that was given: the library reads the machine's.
        said = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=rules.audience or None,
            options={
                "verify_aud": bool(rules.audience), "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                "verify_sub": False, "verify_jti": False,
            },
        )  # fmt: skip
        for name, is_past in (("exp", True), ("nbf", False)):
            at = said.get(name)
            if at is None:
                continue
            if isinstance(at, bool) or not isinstance(at, int | float):
                raise BadToken(f"{name} is {at!r}")
            if (now >= at + rules.clock_skew_s) if is_past else (now < at - rules.clock_skew_s):
                raise BadToken("the token has expired" if is_past else "the token is not valid yet")
        return said

    def _claims(self, said: dict[str, Any]) -> Claims:
        subject = said.get("sub")
        if not isinstance(subject, str):
            raise BadToken(f"sub is {subject!r}")
        claims, bad = claims_of(subject, self._permissions(said.get(self._rules.permissions_claim)))
        if bad:
            _log.warning("permissions of %r that are none: %s", subject, ", ".join(bad)[:500])
        return claims

    def _permissions(self, said: object) -> Iterator[tuple[str, str]]:
        if not isinstance(said, list):
            if said is not None:
                _log.warning("the claim %s of a token is no list", self._rules.permissions_claim)
            return
        for one in cast("list[object]", said):
            found = self._pattern.fullmatch(one) if isinstance(one, str) else None
            yield (found["namespace"], found["role"]) if found is not None else (str(one), "")

    def _keep(self, token: str, claims: Claims, expires: float | None, now: float) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        until = now + 60.0 if expires is None else expires + self._rules.clock_skew_s
        self._known[token] = _Known(claims, until, self._keys.generation)
