"""Puts the guard's wrappers in place, once per process."""

from __future__ import annotations

import asyncio.base_events
import ctypes
import datetime
import gc
import importlib
import os
import random
import sys
import time
from _thread import get_ident
from collections.abc import Callable
from functools import update_wrapper
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, cast

from perdure.sdk.guard.table import (
    CLASS_NAMES,
    CLOCKS,
    DATES,
    DICE,
    EVENT_FAMILIES,
    EVENTS,
    FUNCTIONS,
    METHODS,
    WRITE,
    Asked,
)
from perdure.sdk.guard.verdict import check
from perdure.sdk.replay.running import guarded

_installed = False
_real_clocks: dict[str, Any] = {}
_real_dates: dict[str, Any] = {}


def install() -> None:
    """Begin to watch workflow code in this process. Does nothing the second time."""
    global _installed
    if _installed:
        return
    _installed = True
    replaced = _wrap_functions()
    _wrap_methods()
    _guard_module_random()
    if "time_machine" not in sys.modules:
        _wrap_dates()
        sys.meta_path.insert(0, _MakeWay())
    _replace_by_name(replaced)
    _spare_event_loops()
    sys.addaudithook(_heard)


# --- functions ---------------------------------------------------------------------------------------


def _wrap_functions() -> dict[int, tuple[Any, Any]]:
    """Returns the replaced functions and their wrappers, by the function's id."""
    replaced: dict[int, tuple[Any, Any]] = {}
    for module_name, names in FUNCTIONS.items():
        if module_name == "time" and "time_machine" in sys.modules:
            continue
        module = importlib.import_module(module_name)
        for name, asked in names.items():
            real = getattr(module, name, None)
            if real is not None:
                _put(module, name, real, _wrapper(real, f"{module_name}.{name}()", asked), replaced)
    if "time_machine" not in sys.modules:
        for name, asked in CLOCKS.items():
            real = getattr(time, name)
            _put(time, name, real, _clock_wrapper(real, f"time.{name}()", asked), replaced)
    return replaced


def _put(module: ModuleType, name: str, real: Any, wrapper: Any, replaced: dict[int, tuple[Any, Any]]) -> None:
    if module is time:
        _real_clocks[name] = real
    replaced[id(real)] = (real, wrapper)
    setattr(module, name, wrapper)


def _wrapper(real: Callable[..., Any], what: str, asked: Asked) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if guarded and get_ident() in guarded:
            check(what, asked, args[0] if args else None)
        return real(*args, **kwargs)

    def ask() -> Any:
        if guarded and get_ident() in guarded:
            answer = check(what, asked)
            if answer is not None:
                return answer
        return real()

    takes_nothing = what.startswith("time.") and not what.startswith(("time.sleep", "time.clock"))
    return update_wrapper(ask if takes_nothing else call, real)


def _clock_wrapper(real: Callable[..., Any], what: str, asked: Asked) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        if guarded and (not args or args[0] is None) and get_ident() in guarded:
            check(what, asked)
        return real(*args)

    return update_wrapper(call, real)


def _replace_by_name(replaced: dict[int, tuple[Any, Any]]) -> None:
    """`from time import time`, done before: those modules have the real function in their globals."""
    for name, module in list(sys.modules.items()):
        root = name.partition(".")[0]
        if root in sys.stdlib_module_names or name.startswith("perdure.sdk") or not isinstance(module, ModuleType):  # pyright: ignore[reportUnnecessaryIsInstance] - anything can be put into sys.modules
            continue
        values = vars(module)
        for key, value in list(values.items()):
            known = replaced.get(id(value))
            if known is not None and known[0] is value:
                values[key] = known[1]


def _spare_event_loops() -> None:
    """asyncio's own loops ask the clock twice a turn, and never on behalf of workflow code: it has its own loop."""
    plain = ModuleType("time")
    vars(plain).update(vars(time))
    vars(plain).update(_real_clocks)
    setattr(asyncio.base_events, "time", plain)


# --- methods -----------------------------------------------------------------------------------------


def _wrap_methods() -> None:
    for path, names in METHODS.items():
        module_name, _, class_name = path.rpartition(".")
        owner = getattr(importlib.import_module(module_name), class_name)
        for name, asked in names.items():
            what = CLASS_NAMES.get(f"{path}.{name}", f"{path}.{name}()")
            try:
                setattr(owner, name, _wrapper(getattr(owner, name), what, asked))
            except TypeError:
                continue  # gevent has put a type of its own there, in C: it cannot be watched, nor carry an engine


class _GuardedRandom(random.Random):
    """The class of the `random` module's own generator: `randint`, `choice` and all others end up here."""

    def random(self) -> float:
        if guarded and get_ident() in guarded:
            check("random.random()", DICE)
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        if guarded and get_ident() in guarded:
            check("random.getrandbits()", DICE)
        return super().getrandbits(k)


def _guard_module_random() -> None:
    """Bound methods that were imported by name keep their generator, so it is that which changes its class."""
    cast(Any, random)._inst.__class__ = _GuardedRandom
    real_init: Callable[..., None] = random.Random.__init__

    def init(self: random.Random, x: Any = None) -> None:
        if x is None and guarded and get_ident() in guarded:
            check("random.Random() without a seed", DICE)
        real_init(self, x)

    cast(Any, random.Random).__init__ = update_wrapper(init, real_init)


# --- datetime ----------------------------------------------------------------------------------------


def _wrap_dates() -> None:
    members = _type_members(datetime.datetime)
    for name, asked in DATES.items():
        _real_dates[name] = members[name]
        members[name] = _date_wrapper(members[name], f"datetime.{name}()", asked)
    _forget_lookups(datetime.datetime)


def _date_wrapper(real: Any, what: str, asked: Asked) -> Any:
    def call(cls: type[datetime.datetime], *args: Any, **kwargs: Any) -> Any:
        if guarded and get_ident() in guarded:
            check(what, asked)
        return real.__get__(None, cls)(*args, **kwargs)

    return classmethod(update_wrapper(call, real))


def _type_members(kind: type) -> dict[str, Any]:
    """The dictionary behind a C type's read-only `__dict__`.

    A type in C cannot be assigned to, though CPython looks methods up in an ordinary dictionary. Only this
    reaches those who wrote `from datetime import datetime` without giving them another class.
    """
    return next(cast("dict[str, Any]", found) for found in gc.get_referents(kind.__dict__) if isinstance(found, dict))


def _forget_lookups(kind: type) -> None:
    """CPython remembers which method a name led to; tell it that the type has changed."""
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


class _MakeWay(MetaPathFinder):
    """Gives the clocks back before time-machine is loaded: it writes into the functions it finds, taking them for C."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> None:
        if fullname == "time_machine":
            restore_clocks()


def restore_clocks() -> None:
    """Undo what was done to `time` and `datetime`; modules that import them later get the real ones."""
    for name, real in _real_clocks.items():
        setattr(time, name, real)
    members = _type_members(datetime.datetime)
    members.update(_real_dates)
    _forget_lookups(datetime.datetime)


# --- files, sockets, threads, processes ----------------------------------------------------------------


def _heard(event: str, args: tuple[Any, ...]) -> None:
    """CPython's audit hook: called before the deed, which an exception prevents."""
    if not guarded or get_ident() not in guarded:
        return
    known = EVENTS.get(event)
    if known is not None:
        what, asked = known
        if event == "open" and _writes(args):
            asked = WRITE
        check(what, asked, args[0] if args else None)
        return
    family, _, name = event.partition(".")
    asked = EVENT_FAMILIES.get(family)
    if asked is not None:
        check(f"{family}.{name}()", asked, args[0] if args else None)


def _writes(args: tuple[Any, ...]) -> bool:
    """Whether a file is opened to be changed: by its mode, or by the flags of os.open."""
    _, mode, flags = args
    if isinstance(mode, str):
        return not set(mode).isdisjoint("wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
