"""What a person should read about signals that the code did not get. Said once, in the log, by the worker.

A signal whose arguments do not fit whoever takes it is *dropped*: it cannot be mended, and must not keep the run from
going on; the later ones are handled. Whether it fits is a matter of its payloads and of the code alone, so replay
drops the same. (A codec that fails is another matter: the signal may be fine. That fails the task, which is tried
again.)

A signal whose name nobody has asked for is *kept*, for code may ask for it later. But it may be a slip, and then the
sender waits for what never comes. So it is told of: at once where the run has handlers, or waits for a name much like
it; else when the run ends and nobody has asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from perdure.sdk.choices import nearest

RESERVED = "__"
"""Names that begin so are the engine's own: dynamic handlers do not get them."""


class Remarks:
    """The remarks of one run. Attributes: `dropped`, `untaken`: sentences that were not said yet."""

    __slots__ = ("_told", "dropped", "untaken")

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.untaken: list[str] = []
        self._told: set[str] = set()

    def drop(self, name: str, why: str) -> None:
        """A signal is not handed out, now or ever."""
        self.dropped.append(f"the signal {name!r} does not fit, and is dropped: {why}")

    def look_at_kept(
        self, kept: Iterable[str], handled: Collection[str | None], awaited: Iterable[str], *, say: bool
    ) -> None:
        """After the code has run: names that were kept for the first time. `say`: it is no replay, somebody listens."""
        for name in dict.fromkeys(kept):
            if name in self._told or name.startswith(RESERVED):
                continue
            known = [known for known in (*handled, *awaited) if known is not None]
            near = nearest(name, known)
            if not handled and not near:
                continue  # the code has asked for nothing of the kind yet
            self._told.add(name)
            if say:
                meant = f"; did the sender mean {near!r}?" if near else ""
                listed = _listed(known)
                self.untaken.append(f"nobody takes the signal {name!r}: it is kept, the code takes {listed}{meant}")

    def look_at_end(self, kept: Iterable[str]) -> None:
        """The run has ended."""
        for name in dict.fromkeys(kept):
            if name not in self._told and not name.startswith(RESERVED):
                self.untaken.append(f"the run ended, and nobody had taken the signal {name!r}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(name for name in names if not name.startswith(RESERVED))) or "none"
