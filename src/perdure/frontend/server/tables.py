"""A table of the configuration file, read key by key: what is missing, of another kind, or not known, is an error that
names the file, the place and what would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from perdure.api.bounds import DURATION_MAX_NS

Value = TypeVar("Value")

_UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class SettingsError(ValueError):
    """The file cannot be used; the message names the file, the key and what would be right."""


def duration_ns(path: Path, what: str, value: object) -> int:
    """Nanoseconds of a duration such as "30s". Raises SettingsError."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise SettingsError(f'{path}: {what} is {value!r}; write a duration such as "30s", "500ms", "2h"')
    ns = float(found[1]) * _UNITS_NS[found[2]]
    if ns > DURATION_MAX_NS:
        raise SettingsError(f"{path}: {what} is {value!r}; nothing takes longer than 100 years (36500d)")
    return round(ns)


class Table:
    """See the module's text. Every getter gives None for a key that is not there, `text` and `table` raise
    SettingsError; `end` raises it for keys that nobody asked for."""

    def __init__(self, path: Path, name: str, said: object) -> None:
        if not isinstance(said, dict):
            raise SettingsError(f"{path}: {name} should be a table")
        self._path, self._name = path, name
        self._said = cast("Mapping[str, object]", said)
        self._asked: dict[str, None] = {}

    def _get(self, key: str, kind: type[Value], should: str) -> Value | None:
        self._asked[key] = None
        value = self._said.get(key)
        if value is not None and type(value) is not kind:
            raise SettingsError(f"{self._path}: {self._name} {key} is {value!r}; write {should}")
        return cast("Value | None", value)

    def text(self, key: str) -> str:
        """One that must be there."""
        value = self._get(key, str, "a text")
        if not value:
            raise SettingsError(f"{self._path}: {self._name} needs {key}")
        return value

    def may_text(self, key: str) -> str | None:
        """One that need not be there."""
        return self._get(key, str, "a text")

    def texts(self, key: str) -> list[str] | None:
        """A list of them."""
        value = cast("list[Any] | None", self._get(key, list, "a list of texts"))
        if value is not None and not all(isinstance(one, str) for one in value):
            raise SettingsError(f"{self._path}: {self._name} {key} is {value!r}; write a list of texts")
        return value

    def flag(self, key: str) -> bool | None:
        """A truth."""
        return self._get(key, bool, "true or false")

    def duration(self, key: str) -> int | None:
        """In nanoseconds."""
        self._asked[key] = None
        value = self._said.get(key)
        return None if value is None else duration_ns(self._path, f"{self._name} {key}", value)

    def table(self, key: str, *, optional: bool = False) -> Table:
        """One within; an empty one if it is optional and not there."""
        self._asked[key] = None
        value = self._said.get(key, {} if optional else None)
        if value is None:
            raise SettingsError(f"{self._path}: {self._name} needs a table {self._name[:-1]}.{key}]")
        return Table(self._path, f"{self._name[:-1]}.{key}]", value)

    def tables(self, key: str) -> dict[str, Table]:
        """All within one, by name."""
        within = self.table(key, optional=True)
        return {name: within.table(name) for name in within._said}

    def names(self) -> list[str]:
        """The names of all that it says."""
        return list(self._said)

    def refuse(self, why: str) -> NoReturn:
        """Raise SettingsError for the table as a whole."""
        raise SettingsError(f"{self._path}: {self._name} {why}")

    def end(self) -> None:
        """All was asked for that was said. Raises SettingsError."""
        unknown = sorted(set(self._said) - set(self._asked))
        if unknown:
            raise SettingsError(
                f"{self._path}: {self._name} has no setting {unknown[0]!r}; there are {', '.join(self._asked)}"
            )
