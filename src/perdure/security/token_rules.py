"""What tokens are held to, as an operator says it: known before the packages are needed that verify them."""

from __future__ import annotations

import re

import msgspec


class BadToken(Exception):
    """The header proves nothing. The message says why, for the log: the caller is not told."""


class TokenRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a token is held to."""

    audience: str = ""
    """It must be for this one; "": for any."""
    permissions_claim: str = "permissions"
    permissions_pattern: str = ""
    """How else a permission is written: a regular expression with the groups `namespace` and `role`."""
    clock_skew_s: float = 10.0
    """So much may its maker's clock be ahead or behind."""


def pattern_of(text: str) -> re.Pattern[str]:
    """Of permissions. Raises ValueError."""
    try:
        pattern = re.compile(text or "(?P<namespace>[^:]*):(?P<role>.*)")
    except re.error as error:
        raise ValueError(f"permissionsRegex {text!r}: {error}") from error
    if not {"namespace", "role"} <= set(pattern.groupindex):
        raise ValueError(f"permissionsRegex {text!r} needs the groups (?P<namespace>…) and (?P<role>…)")
    return pattern
