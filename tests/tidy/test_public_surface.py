"""What a user can import is exact, documented, and changes on purpose only.

The whole surface, names and signatures, stands in `public_surface.txt`. A difference is either a mistake, or a
change that belongs into the CHANGELOG: UPDATE_SNAPSHOTS=1 make tidy writes the file anew, for review to read.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

import perdure
import perdure.choices
import perdure.errors
import perdure.idempotency
import perdure.interceptors
import perdure.interventions
import perdure.schedules
import perdure.testing

SNAPSHOT = Path(__file__).parent / "public_surface.txt"
MODULES: tuple[ModuleType, ...] = (
    perdure,
    perdure.errors,
    perdure.idempotency,
    perdure.interceptors,
    perdure.choices,
    perdure.schedules,
    perdure.interventions,
    perdure.testing,
)
"""All that `perdure` says it has; the first that has a thing names it."""


def surface() -> Iterator[tuple[str, Any]]:
    """Every public object with its dotted name, members of ours included, each once."""
    seen: set[int] = set()
    for module in MODULES:
        for name in sorted(module.__all__):
            thing = getattr(module, name)
            if id(thing) not in seen:
                seen.add(id(thing))
                yield from described(f"{module.__name__}.{name}", thing)


def described(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """The object, and the public members that it or a class of ours gives it; names of the version before are none."""
    yield name, thing
    owners = thing.__mro__ if inspect.isclass(thing) else type(thing).__mro__
    if inspect.isfunction(thing) or isinstance(thing, ModuleType):
        owners = ()
    members = {
        member: value
        for owner in reversed(owners)
        if owner.__module__.startswith("perdure")
        for member, value in vars(owner).items()
        if not member.startswith("_") and is_member(value) and not is_former(value)
    }
    for member in sorted(members):
        yield f"{name}.{member}", members[member]


def is_member(value: Any) -> bool:
    """Whether a class attribute is something that a user calls or reads as a documented property."""
    return inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)


def is_former(value: Any) -> bool:
    """Whether it is a name of the version before: `tests/embedded/version_before.py` is their test."""
    return hasattr(value.fget if isinstance(value, property) else value, "__deprecated__")


def line(name: str, thing: Any) -> str:
    """One line of the snapshot. Functions that are defaults are told by name: the guard may have wrapped them."""
    named = re.sub(r"<(?:built-in )?function ([\w.]+)(?: at 0x[0-9a-f]+)?>", r"\1", told(name, thing))
    return re.sub(r"<object object at 0x[0-9a-f]+>", "...", named)


def told(name: str, thing: Any) -> str:
    """The same, as Python tells it."""
    if isinstance(thing, property):
        return f"{name}: property -> {annotation_of(thing)}"
    if isinstance(thing, classmethod | staticmethod):
        thing = thing.__func__
    if inspect.isclass(thing):
        return f"{name}: class({', '.join(base.__name__ for base in thing.__bases__)}) {made_from(thing)}".rstrip()
    keyword = "async def" if asyncio.iscoroutinefunction(thing) else "def"
    return f"{name}: {keyword} {inspect.signature(thing)}" if callable(thing) else f"{name}: {thing}"


def made_from(cls: type) -> str:
    """What an object of a class is made from, or the members of an enumeration: what our own code says of it."""
    if issubclass(cls, Enum):
        return " | ".join(member.name for member in cls)
    if issubclass(cls, msgspec.Struct):
        return f"({', '.join(field for field in cls.__struct_fields__ if not field.startswith('_'))})"
    init = cls.__init__
    is_ours = inspect.isfunction(init) and init.__module__.startswith("perdure")
    is_dataclass = "__dataclass_fields__" in vars(cls)
    return str(inspect.signature(cls)) if is_ours or is_dataclass else ""


def annotation_of(thing: property) -> str:
    """A property's declared type."""
    return str((thing.fget.__annotations__ if thing.fget else {}).get("return", "?"))


def has_own_docstring(thing: Any) -> bool:
    """Whether somebody wrote a docstring, and not the dataclass machinery or a base class."""
    text = thing.__doc__
    return bool(text and text.strip()) and not (inspect.isclass(thing) and text.startswith(f"{thing.__name__}("))


def test_the_surface_is_what_the_snapshot_says() -> None:
    now = [line(name, thing) for name, thing in surface()]
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text("\n".join([*now, ""]), encoding="utf-8")
    said = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    difference = list(difflib.unified_diff(said, now, lineterm="", n=0))
    assert not difference, "\n".join(["meant? UPDATE_SNAPSHOTS=1 make tidy", *difference])


def test_everything_public_is_documented() -> None:
    silent = [name for name, thing in surface() if not has_own_docstring(thing)]
    assert not silent, "\n".join(["", *silent])


def test_all_is_complete_and_sorted() -> None:
    for module in MODULES:
        assert len(set(module.__all__)) == len(module.__all__)
        public = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
        }
        assert public == set(module.__all__), f"{module.__name__}: __all__ and the public names differ"


NAMES_MAX = 60
"""What one person can look through; what fewer need has a module of its own."""

IN_NANOSECONDS = {
    "perdure.workflow.time_ns",
    "perdure.testing.VirtualClock.now_ns",
    "perdure.testing.VirtualTimeLoop.advance(duration_ns)",
}
"""As `time.time_ns` of Python: these are clocks, and the name is the unit."""


def functions() -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Each public function with its name, and with the docstring of the class that it is of."""
    owners: dict[str, str] = {}
    for name, thing in surface():
        owners[name] = (thing if inspect.isclass(thing) else type(thing)).__doc__ or ""
        function = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
        if inspect.isfunction(function):
            yield name, owners.get(name.rpartition(".")[0], ""), function


def test_perdure_itself_is_small() -> None:
    assert len(perdure.__all__) <= NAMES_MAX


def test_every_parameter_and_every_answer_has_a_type() -> None:
    untyped: list[str] = []
    for name, _, function in functions():
        signature = inspect.signature(function)
        given = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        untyped += [f"{name}({p.name})" for p in given if p.annotation is p.empty]
        untyped += [f"{name} ->"] * (signature.return_annotation is signature.empty)
    assert untyped == []


def test_a_length_is_a_duration_and_a_time_a_datetime() -> None:
    counted = [name for name, _ in surface() if name.endswith("_ns")]
    for name, thing in surface():
        fields = getattr(thing, "__struct_fields__", None) or getattr(thing, "__dataclass_fields__", ())
        counted += [f"{name}.{field}" for field in fields if field.endswith("_ns") and not field.startswith("_")]
    for name, _, function in functions():
        counted += [f"{name}({p})" for p in inspect.signature(function).parameters if p.endswith("_ns")]
    assert set(counted) == IN_NANOSECONDS


def test_everything_public_says_what_it_raises() -> None:
    """Itself, by the one that it refers to, or in its class, of all its methods."""
    silent = [
        name
        for name, owner, function in functions()
        if name.startswith("perdure.") and name.count(".") < 3
        if not re.search(r"\braise|\berrors (as|are)|\bsee `|\bas `", f"{function.__doc__} {owner}", re.IGNORECASE)
    ]
    assert silent == []
