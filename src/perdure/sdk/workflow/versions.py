"""`workflow.patched`, `deprecate_patch`, `get_version`: change workflow code while runs of it are open.

What they write and how replay reads it is in `replay/patch.py`; docs/versioning.md says when to use which.
"""

from __future__ import annotations

from perdure.sdk.errors import EngineError
from perdure.sdk.option_names import lists_options
from perdure.sdk.replay.patch import DEFAULT_VERSION, check_change_id, patched, version
from perdure.sdk.replay.running import current


@lists_options
class Versions:
    """A part of `workflow`."""

    DEFAULT_VERSION = DEFAULT_VERSION
    """What `get_version` answers to a run that came by before it was called there: -1."""

    @staticmethod
    def patched(id: str) -> bool:
        """Whether this run takes the new path of a change: yes, unless it came by here before the change.

        The first answer holds for the rest of the run. Once no run is on the old path any more, remove that path and
        replace this by `deprecate_patch`.

        Args:
            id: of the change; any text, one for each change.

        Raises:
            EngineError: outside of a running workflow, or in a condition or query.
        """
        machine = current("workflow.patched()")
        check_change_id(id, "workflow.patched()")
        return patched(machine, id, deprecated=False)

    @staticmethod
    def deprecate_patch(id: str) -> None:
        """The second step of removing a patch: all runs are on the new path, and new ones need not say so.

        Once no open run holds a marker that is not deprecated, this call can go too.

        Raises:
            EngineError: as `patched`.
        """
        machine = current("workflow.deprecate_patch()")
        check_change_id(id, "workflow.deprecate_patch()")
        patched(machine, id, deprecated=True)

    @staticmethod
    def get_version(change_id: str, min_supported: int, max_supported: int) -> int:
        """Which version of a change this run takes: the newest, unless it came by here before.

        The first answer holds for the rest of the run. -1 (`workflow.DEFAULT_VERSION`): it came by before there was
        any version.

        Args:
            change_id: of the change.
            min_supported, max_supported: what this code knows. Raise the first to give up an old path.

        Raises:
            NonDeterminismError: the run is on a version that the code does not support. Fails the task even if caught.
            EngineError: as `patched`; the bounds are not in order.
        """
        machine = current("workflow.get_version()")
        check_change_id(change_id, "workflow.get_version()")
        if not DEFAULT_VERSION <= min_supported <= max_supported:
            raise EngineError(
                f"workflow.get_version({change_id!r}, ...) needs -1 <= min_supported <= max_supported, "
                f"not {min_supported} and {max_supported}"
            )
        return version(machine, change_id, min_supported, max_supported)
