"""Whether a call that reached the guard is workflow code's own doing, and the error if it is.

Only the slow path: workflow code is running on this thread, and something forbidden was called. The verdict is
found by walking from the call outwards to the workflow, and by what kind of asking it is (`table.Kind`).

It must be the same whatever the process has done before, or a workflow that passed its tests is stuck in a process
that has just been started. A library that reads a file or a setting when it is first used, and keeps it, asks the
guard in a cold process alone: so such a look is nobody's decision, as long as it is the library's idea and not the
user's. By kind:

* nothing below imports, logging, tracebacks, warnings, finalizers and debuggers is the workflow's doing (`_PERMITTED`);
* encoding is done live alone, and codecs may do as they like. Decoding gives values to the workflow: it may look, for
  models build their schemas then, but not ask for the time or for chance;
* a look is a library's own when it was an initialisation of the standard library (`_FIRST_USE`), or when an installed
  library looks at settings, at files of the installation, or at catalogues and templates (`_CATALOGUES`): these come
  with the deployment, as code does. Not if the library reads settings for its caller (`_ON_BEHALF`);
* data of an imported package, read as importlib.resources does, come with the code, too;
* an archive's header is given workflow time (`_HEADERS`);
* whatever else is asked for by the user, or by a library that the user calls, is the workflow's decision.
"""

from __future__ import annotations

import gc
import os
import sys
from _thread import get_ident
from types import CodeType, FrameType
from typing import Any

from perdure.sdk.errors import DeterminismViolation
from perdure.sdk.guard.table import LIBRARIES, Asked, Kind
from perdure.sdk.guard.whose import BASES, Whose, library_folders, root_of, whose
from perdure.sdk.options import SECOND_NS
from perdure.sdk.replay.running import running

_PERMITTED = frozenset(
    (
        "_frozen_importlib",
        "_frozen_importlib_external",
        "_pydevd_bundle",
        "_pytest",
        "bdb",
        "coverage",
        "debugpy",
        "importlib",
        "linecache",
        "logging",
        "loguru",
        "pdb",
        "platform",
        "pydevd",
        "sentry_sdk",
        "structlog",
        "tokenize",
        "traceback",
        "warnings",
        "weakref",
        "zipimport",
    )
)
"""Whatever happens below these is not the workflow's decision: imports, log lines (`talkers.py`), tracebacks,
finalizers, debuggers and pytest's assertion texts. And `platform`, which asks a program what it keeps."""

_PERMITTED_FUNCTIONS = frozenset(("__del__", "_get_default_tempdir"))
"""Functions below which nothing is. The second finds, once, the folder for temporary files, by trying to write there;
who may ask for that folder is decided before."""

_FIRST_USE = frozenset(
    (
        "_strptime",
        "calendar",
        "encodings",
        "gettext",
        "inspect",
        "locale",
        "mimetypes",
        "pkgutil",
        "site",
        "ssl",
        "sysconfig",
        "zoneinfo",
    )
)
"""Modules of the standard library that read a file or a setting, and mostly keep it: zones, catalogues, types of
files, source code."""

_FIRST_USE_FUNCTIONS = frozenset((("pathlib", "Path.resolve"),))
"""Functions of other modules: this one computes a path, as os.path.realpath does, which asks nothing the guard sees."""

_CATALOGUES = frozenset(
    ("babel", "chameleon", "dateutil", "django", "fluent", "genshi", "jinja2", "mako", "pytz", "tzdata", "tzlocal")
)
"""Installed libraries that read templates and catalogues of the application, wherever these are."""

_ON_BEHALF = frozenset(("decouple", "dotenv", "dynaconf", "environ", "environs", "pydantic_settings", "starlette"))
"""Installed libraries that are asked for settings: what they read their caller wants to know."""

_HEADERS = frozenset(("gzip", "tarfile", "zipfile"))
"""Modules that write the time into what they make. They get workflow time, and what they make is the same in replay."""

_SHOWS_TIME = frozenset(("rich",))
"""Installed libraries that look at the clock to show it."""

_CONVERTER = "perdure.sdk.convert.converter"
_DECODES = "_decode"
_GUARD = "perdure.sdk.guard.patches"

_ESCAPE = "or, if it cannot change what the workflow does, put it into `with workflow.unsafe.unguarded():`"


def check(what: str, asked: Asked, subject: object = None, depth: int = 2) -> float | None:
    """Raise DeterminismViolation if workflow code is to blame for the call `depth` frames up.

    Args:
        what: the function called, as its caller writes it.
        asked: for what, and what to use instead.
        subject: the file that is looked at, if it is one.

    Returns what to answer instead of the truth, in seconds since the epoch; mostly None.
    """
    frame = sys._getframe(depth)  # pyright: ignore[reportPrivateUsage] - inspect's way costs 100 times more
    machine = running.get(get_ident())
    if what == "time.time()" and root_of(frame) in _HEADERS and machine is not None:
        return machine.now_ns / SECOND_NS
    blamed, called = _who_calls(frame, asked.kind, subject)
    if blamed is None:
        return None
    instead = asked.instead
    if called is not None:
        module: str = called.f_globals.get("__name__", "")
        name = f"{module}.{called.f_code.co_qualname}()"
        what = what if what == name else f"{name} (and so {what})"
        instead = LIBRARIES.get(module.partition(".")[0], instead)
    at = f"{blamed.f_code.co_filename}:{blamed.f_lineno} in {blamed.f_code.co_qualname}"
    error = DeterminismViolation(
        f"workflow code calls {what}, at {at}: replay could not repeat it. Use {instead}; {_ESCAPE}"
    )
    if machine is not None and machine.violation is None:
        machine.violation = error
    raise error


def _who_calls(frame: FrameType | None, kind: Kind, subject: object) -> tuple[FrameType | None, FrameType | None]:
    """The frame to blame, None for nobody, and the library function that it called, None if it called itself."""
    innermost = frame
    blamed: FrameType | None = None
    called: FrameType | None = None
    interruptions = _gc_callbacks()
    library: FrameType | None = None
    decodes = False
    while frame is not None:
        name: str = frame.f_globals.get("__name__") or ""
        if (
            root_of(frame) in _PERMITTED
            or frame.f_code.co_name in _PERMITTED_FUNCTIONS
            or frame.f_code in interruptions
        ):
            return None, None
        if name in BASES:
            break
        if name == _CONVERTER:
            decodes = decodes or frame.f_code.co_name == _DECODES
            if not decodes or (kind is Kind.LOOK and blamed is None):
                return None, None
        elif blamed is None and name != _GUARD:
            owner = whose(frame)
            if owner is Whose.USER:
                if _is_the_librarys(innermost, frame, kind, subject):
                    return None, None
                blamed = frame
            elif owner is Whose.SDK:
                if library is None or kind is Kind.LOOK:
                    return None, None
                blamed, called = library, None
            else:
                called = frame
                if owner is Whose.LIBRARY and library is None:
                    library = frame
        frame = frame.f_back
    if blamed is None and library is not None:
        blamed, called = library, None
    return blamed, called


def _is_the_librarys(innermost: FrameType | None, user: FrameType, kind: Kind, subject: object) -> bool:
    """Whether what lies between the call and the user's frame asks on its own account."""
    if kind is Kind.CLOCK:
        return innermost is not None and _first_library(innermost, user) in _SHOWS_TIME
    if kind is not Kind.LOOK:
        return False
    frame = innermost
    reads_package = False
    while frame is not None and frame is not user:
        root = root_of(frame)
        if whose(frame) is Whose.LIBRARY:
            return root not in _ON_BEHALF and (root in _CATALOGUES or _is_of_installation(subject))
        if root in _FIRST_USE or (root, frame.f_code.co_qualname) in _FIRST_USE_FUNCTIONS:
            return True
        reads_package = reads_package or root == "pathlib"
        frame = frame.f_back
    return (reads_package and _is_package_data(subject)) or _is_zone(subject)


def _first_library(frame: FrameType | None, user: FrameType) -> str:
    while frame is not None and frame is not user:
        if whose(frame) is Whose.LIBRARY:
            return root_of(frame)
        frame = frame.f_back
    return ""


def _is_of_installation(subject: object) -> bool:
    """Whether a file belongs to the interpreter, a library or the system; a setting does."""
    path = _path_of(subject)
    return path is None or path.startswith(_INSTALLATION)


def _is_zone(subject: object) -> bool:
    """Whether a file is a time zone's: zoneinfo opens it in C, where no frame says so."""
    folders: tuple[str, ...] = getattr(sys.modules.get("zoneinfo"), "TZPATH", ())
    path = _path_of(subject) if folders else None
    return path is not None and path.startswith(tuple(os.path.join(folder, "") for folder in folders))


def _is_package_data(subject: object) -> bool:
    """Whether a file lies in the folder of a package that is imported: data that come with code."""
    path = _path_of(subject)
    if path is None:
        return False
    folder = path
    packages = {str(place) for module in list(sys.modules.values()) for place in _places_of(module)}
    while folder != (folder := os.path.dirname(folder)):
        if folder in packages:
            return True
    return False


def _places_of(module: Any) -> list[str]:
    try:
        return list(getattr(module, "__path__", None) or ())
    except Exception:  # anything can be in sys.modules: lazy modules load when they are asked
        return []


def _path_of(subject: object) -> str | None:
    if isinstance(subject, (str, os.PathLike)):
        return os.path.abspath(os.fspath(subject))
    return os.path.abspath(os.fsdecode(subject)) if isinstance(subject, bytes) else None


def _folders_of_installation() -> tuple[str, ...]:
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr", "/usr/local"}
    below = {os.path.join(prefix, part, "") for prefix in prefixes for part in ("lib", "lib64", "share")}
    return (*library_folders, *sorted(below), "/etc/", "/lib/")


_INSTALLATION = _folders_of_installation()


def _gc_callbacks() -> set[CodeType]:
    """The garbage collector comes by whenever it likes, on whatever thread: what it calls is nobody's doing."""
    functions: list[Any] = [getattr(callback, "__func__", callback) for callback in gc.callbacks]
    return {function.__code__ for function in functions if hasattr(function, "__code__")}
