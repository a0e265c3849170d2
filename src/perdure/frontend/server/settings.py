"""The configuration file of a server: every bound and setting of engine and law, by name, in TOML.

    address = "127.0.0.1:7233"
    namespaces = ["default", "billing"]

    [limits]                       # see perdure/core/limits.py
    blob_bytes = 4194304
    suggest_continue_as_new_events = 10000

    [engine]                       # see perdure/engine/node/config.py
    cache_bytes_max = 536870912
    long_poll = "45s"              # what ends in _ns there is written without, as a duration

    [tls.frontend.server]          # see perdure/frontend/server/tls_table.py
    certFile = "/etc/perdure/tls.crt"
    keyFile = "/etc/perdure/tls.key"

What is not named keeps its default. A name that does not exist, or a value of another kind, is an error
that says which there are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from perdure.api.times import LONG_MAX
from perdure.core.limits import Limits
from perdure.engine.node.config import EngineConfig
from perdure.frontend.server.authorization_table import read_authorization
from perdure.frontend.server.tables import SettingsError, Table, duration_ns
from perdure.frontend.server.tls_table import read_tls

Settings = TypeVar("Settings", Limits, EngineConfig)

_NOT_FOR_OPERATORS = {"limits", "workers_died", "node"}
"""Said by the program that holds the engine, or by a section of its own."""
_PARTS: dict[str, Callable[[Table], Any]] = {"tls": read_tls, "authorization": read_authorization}
"""Sections with words of their own."""


def read_settings(path: Path, top: Mapping[str, type]) -> tuple[dict[str, Any], EngineConfig]:
    """What a file says: the values of the keys in `top` and of sections such as `tls`, and the engine's settings.

    Raises SettingsError, OSError.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    sections = {"limits": document.pop("limits", {}), "engine": document.pop("engine", {})}
    parts = {name: document.pop(name) for name in _PARTS if name in document}
    unknown = sorted(set(document) - set(top))
    if unknown:
        raise SettingsError(
            f"{path}: there is no setting {unknown[0]!r}; there are {', '.join((*top, *sections, *_PARTS))}"
        )
    for name, value in document.items():
        if not isinstance(value, top[name]):
            raise SettingsError(f"{path}: {name} is {value!r}; it should be a {top[name].__name__}")
    limits = _section(path, "limits", Limits, sections["limits"])
    engine = _section(path, "engine", EngineConfig, sections["engine"], limits=limits)
    for name, said in parts.items():
        document[name] = _PARTS[name](Table(path, f"[{name}]", said))
    return document, engine


def names(kind: type[Limits] | type[EngineConfig]) -> dict[str, str]:
    """How an operator writes each setting -> the field it is."""
    found = (field.name for field in fields(kind) if field.name not in _NOT_FOR_OPERATORS)
    return {name.removesuffix("_ns"): name for name in found}


def _section(path: Path, section: str, kind: type[Settings], said: object, **more: Any) -> Settings:
    if not isinstance(said, dict):
        raise SettingsError(f"{path}: [{section}] should be a table")
    known, defaults = names(kind), kind()
    values: dict[str, Any] = {}
    table: dict[str, object] = said  # pyright: ignore[reportUnknownVariableType] - TOML knows no more
    for name, value in table.items():
        if name not in known:
            raise SettingsError(f"{path}: [{section}] has no setting {name!r}; there are {', '.join(known)}")
        field = known[name]
        values[field] = _value(path, f"[{section}] {name}", field, value, getattr(defaults, field))
    return kind(**values, **more)


def _value(path: Path, what: str, field: str, value: object, default: object) -> object:
    """Of the default's kind, and not negative."""
    if field.endswith("_ns"):
        return duration_ns(path, what, value)
    if type(value) is not type(default) or (isinstance(value, int) and value < 0):
        raise SettingsError(f"{path}: {what} is {value!r}; write a number that is not negative, as {default!r} is")
    if isinstance(value, int | float) and not value <= LONG_MAX:
        raise SettingsError(f"{path}: {what} is {value!r}; write a number that 64 bits hold")
    if isinstance(value, float) and value <= 0:
        raise SettingsError(f"{path}: {what} is {value!r}; write a number greater than 0, as {default!r} is")
    return value
