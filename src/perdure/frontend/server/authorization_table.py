"""`[authorization]` of a server's configuration file, in Temporal's words (common/config/config.go, `Authorization`):

    [authorization]
    jwtKeyProvider = { keySourceURIs = ["https://id.example.com/.well-known/jwks.json"], refreshInterval = "1m" }
    audience = "perdure"
    permissionsClaimName = "permissions"
    permissionsRegex = '(?P<namespace>[^:]+):(?P<role>\\w+)'

and ours: `clockSkew`, a duration, and who a client's certificate makes of its bearer:

    [authorization.certificateSubjects]
    "CN=billing worker,O=Acme" = ["billing:write"]
"""

from __future__ import annotations

from typing import Any

from perdure.frontend.authorization import AuthorizationConfig
from perdure.frontend.server.tables import SettingsError, Table
from perdure.security.token_rules import TokenRules, pattern_of


def read_authorization(table: Table) -> AuthorizationConfig:
    """Raises SettingsError."""
    provider = table.table("jwtKeyProvider", optional=True)
    sources = provider.texts("keySourceURIs") or []
    refresh_ns = provider.duration("refreshInterval")
    skew_ns = table.duration("clockSkew")
    rules: dict[str, Any] = {
        "audience": table.may_text("audience"),
        "permissions_claim": table.may_text("permissionsClaimName"),
        "permissions_pattern": table.may_text("permissionsRegex"),
        "clock_skew_s": None if skew_ns is None else skew_ns / 1e9,
    }
    within = table.table("certificateSubjects", optional=True)
    subjects = {name: within.texts(name) or [] for name in within.names()}
    provider.end()
    table.end()
    if not sources and not subjects:
        table.refuse("needs jwtKeyProvider.keySourceURIs or certificateSubjects: nobody could be let in")
    try:
        pattern_of(rules["permissions_pattern"] or "")
    except ValueError as error:
        raise SettingsError(str(error)) from error
    said = {name: value for name, value in rules.items() if value is not None}
    more = {} if refresh_ns is None else {"refresh_ns": refresh_ns}
    return AuthorizationConfig(key_sources=sources, rules=TokenRules(**said), subjects=subjects, **more)
