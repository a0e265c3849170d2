"""Who may do what: an interceptor that finds out who calls, and asks the table of roles.

A caller shows a token in the header `authorization` (`perdure.security.tokens`), or a certificate in the handshake
whose subject the configuration knows. Who shows neither is nobody, and may do what everybody may. A request is held
against its own namespace, that of its task token, and all that its commands name. What is refused is refused in
Temporal's words, whatever the reason was: the log says it.

Calls from this process are the operator's own. What a schedule or a batch does was allowed to whoever made it, then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from temporalio.api.errordetails.v1 import PermissionDeniedFailure

from perdure.api.errors import Rejected, StatusCode
from perdure.core.principal import Principal
from perdure.frontend.calls import Call, Origin, Proceed
from perdure.security.roles import ACCESS, NOBODY, OF_THE_SYSTEM, OPEN, Access, Claims, claims_of, is_allowed
from perdure.security.token_rules import BadToken, TokenRules

if TYPE_CHECKING:
    from perdure.security.jwks import Jwks
    from perdure.security.tokens import Tokens

_log = logging.getLogger(__name__)

_BEARER = "bearer"
_TELL_S = 1.0


class AuthorizationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who is let in. Raises ValueError in `Authorization` for a pattern that is none."""

    key_sources: Sequence[str] = ()
    """Of JSON Web Key Sets, URLs or paths; none: tokens prove nothing."""
    refresh_ns: int = 60 * 10**9
    rules: TokenRules = TokenRules()
    subjects: Mapping[str, Sequence[str]] = {}
    """Permissions, `<namespace>:<role>`, by the subject of a certificate (RFC 4514)."""


class Authorization:
    """See the module's text. `start` and `stop` once each, on the server's event loop."""

    def __init__(self, config: AuthorizationConfig, wall_s: Callable[[], float] = time.time) -> None:
        self._keys, self._tokens = _tokens(config, wall_s) if config.key_sources else (None, None)
        self._subjects = {name: _claims_of_subject(name, said) for name, said in config.subjects.items()}
        self._told_at = -_TELL_S

    async def start(self) -> None:
        """Fetch the keys. Raises JwksError."""
        if self._keys is not None:
            await self._keys.start()

    def stop(self) -> None:
        """Idempotent."""
        if self._keys is not None:
            self._keys.stop()

    async def __call__(self, call: Call, request: Any, proceed: Proceed) -> Any:
        """See `calls.Interceptor`. Raises Rejected PERMISSION_DENIED."""
        if call.origin is Origin.FAR and call.rpc not in OPEN:
            claims = await self._claims(call.authorization, call.subject, call.principal.address)
            if claims.subject:
                call.principal = Principal(claims.subject, call.principal.address)
            self._ask(claims, ACCESS.get(call.rpc), call.namespaces, call.rpc, call.principal)
        return await proceed(call, request)

    async def admit(self, what: str, authorization: str, subject: str, address: str) -> None:
        """Ask for what is no RPC of the table: metrics, reflection. Raises Rejected PERMISSION_DENIED."""
        claims = await self._claims(authorization, subject, address)
        self._ask(claims, OF_THE_SYSTEM, (), what, Principal(claims.subject, address))

    def _ask(
        self, claims: Claims, access: Access | None, namespaces: tuple[str, ...], what: str, who: Principal
    ) -> None:
        if not is_allowed(claims, access, namespaces):
            self._tell("%s by %s in %s was refused", what, who, ", ".join(namespaces) or "the system")
            raise refusal()

    async def _claims(self, authorization: str, subject: str, address: str) -> Claims:
        """Who calls. Raises Rejected PERMISSION_DENIED for what claims to prove it and does not."""
        if not authorization:
            return self._subjects.get(subject, NOBODY) if subject else NOBODY
        scheme, _, token = authorization.partition(" ")
        try:
            if scheme.lower() != _BEARER or not token:
                raise BadToken("the header authorization is none of `Bearer <token>`")
            if self._tokens is None:
                raise BadToken("no source of keys is configured")
            return await self._tokens.claims(token)
        except BadToken as error:
            self._tell("a caller at %s was refused: %s", address, error)
            raise refusal() from None

    def _tell(self, text: str, *values: object) -> None:
        """In the log, once a second at most: whoever tries keys shall not fill the disk."""
        now = time.monotonic()
        if now - self._told_at >= _TELL_S:
            self._told_at = now
            _log.warning(text, *values)


def _tokens(config: AuthorizationConfig, wall_s: Callable[[], float]) -> tuple[Jwks, Tokens]:
    """Raises ValueError where the packages are not that it takes."""
    try:
        from perdure.security.jwks import Jwks
        from perdure.security.tokens import Tokens
    except ImportError as error:
        raise ValueError(
            f"tokens need more packages ({error.name} is missing): pip install 'perdure[server]'"
        ) from error
    keys = Jwks(config.key_sources, config.refresh_ns / 1e9)
    return keys, Tokens(keys, config.rules, wall_s)


def refusal() -> Rejected:
    """As Temporal's server has it."""
    return Rejected(StatusCode.PERMISSION_DENIED, "Request unauthorized.", PermissionDeniedFailure())


def _claims_of_subject(subject: str, permissions: Sequence[str]) -> Claims:
    """Raises ValueError: what an operator has written is not passed over."""
    claims, bad = claims_of(subject, ((one.partition(":")[0], one.partition(":")[2]) for one in permissions))
    if bad:
        raise ValueError(f"authorization: the permission {bad[0]!r} of {subject!r} is none: write <namespace>:<role>")
    return claims
