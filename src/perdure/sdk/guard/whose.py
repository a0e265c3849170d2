"""Whose code a frame runs: the standard library's, an installed library's, this package's, or the user's.

The user's is what is left, and whatever is in the top-level package of the workflow itself: that may well be installed.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from _thread import get_ident
from enum import StrEnum
from types import FrameType

from perdure.sdk.replay.running import running

BASES = frozenset(("perdure.sdk.replay.greenlets", "perdure.sdk.workflow.loop"))
"""The modules that run workflow code: what is outside of their frames is not the workflow's."""


class Whose(StrEnum):
    """The owner of a frame."""

    STDLIB = "the standard library"
    LIBRARY = "an installed library"
    SDK = "perdure"
    USER = "the user"


def _folders() -> tuple[str, ...]:
    """Where libraries are installed, each as it is named and as it really is."""
    named = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        named.append(site.getusersitepackages())
    real = [os.path.realpath(folder) for folder in named]
    return tuple(sorted({os.path.join(folder, "") for folder in named + real}))


library_folders = _folders()
_by_file: dict[str, bool] = {}


def whose(frame: FrameType) -> Whose:
    """The owner of a frame of the workflow that runs on this thread."""
    root = root_of(frame)
    if root == "perdure":
        return Whose.SDK
    if root in sys.stdlib_module_names:
        return Whose.STDLIB
    return Whose.LIBRARY if _is_installed(frame.f_code.co_filename, root) else Whose.USER


def root_of(frame: FrameType) -> str:
    """The top-level package that a frame's code is in; an empty text if that is not known."""
    name: str = frame.f_globals.get("__name__") or ""
    return name.partition(".")[0]


def _is_installed(file: str, root: str) -> bool:
    machine = running.get(get_ident())
    if machine is not None and root and root == str(machine.definition.fn.__module__).partition(".")[0]:
        return False
    if file.startswith("<"):  # made at run time, as attrs and pydantic do: it belongs to whom its module belongs
        file = getattr(sys.modules.get(root), "__file__", None) or file
    known = _by_file.get(file)
    if known is None:
        known = _by_file[file] = file.startswith(library_folders)
    return known


def users_frame(frame: FrameType | None) -> FrameType | None:
    """The nearest frame of the user's, from `frame` outwards; else the nearest of a library's."""
    fallback: FrameType | None = None
    while frame is not None and frame.f_globals.get("__name__") not in BASES:
        owner = whose(frame)
        if owner is Whose.USER:
            return frame
        if fallback is None and owner is Whose.LIBRARY:
            fallback = frame
        frame = frame.f_back
    return fallback
