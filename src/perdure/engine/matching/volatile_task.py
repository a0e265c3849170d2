"""Work that waits for a worker and is no row of the store."""

from __future__ import annotations

import msgspec

from perdure.api.errors import Rejected
from perdure.core.names import ExecutionKey


class VolatileTask(msgspec.Struct, eq=False):
    """Handed to a worker as it is, and gone with the process, or when nobody wants what would come of it."""

    key: ExecutionKey
    """Whose it is."""

    @property
    def is_wanted(self) -> bool:
        """Whether it is still to be handed to anybody."""
        raise NotImplementedError

    def fail(self, error: Rejected) -> None:
        """Nothing comes of it; without effect when it is not wanted any more."""
        raise NotImplementedError
