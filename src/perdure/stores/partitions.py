"""Partitions of the key space: a fixed, fine hash of names, so that work can be shared out among nodes.

Every execution, record and message belongs to one of 4,096 partitions, whatever the number of nodes: nobody chooses a
count of shards when a store is made, and nothing is moved when nodes come and go. Which node looks after which
partitions is said by `engine/duties/duties.py`; a store is asked for what is due, or waits, in some of them.
"""

from __future__ import annotations

from hashlib import blake2b

PARTITIONS = 4096
_BITS = 12


def partition_of(namespace: str, name: str) -> int:
    """The partition of an execution (`name`: its workflow id, so that all its runs are together) or of a record.

    The first 12 bits of a BLAKE2b digest: the same in every process and for ever, because stores may keep them.
    """
    return int.from_bytes(blake2b(f"{namespace}\0{name}".encode(), digest_size=2).digest()) >> 16 - _BITS


class Partitions(frozenset[int]):
    """Some of the partitions, or all of them."""

    __slots__ = ()

    @property
    def is_all(self) -> bool:
        """Whether nothing is outside of them: what belongs to them need not be asked for its partition."""
        return len(self) == PARTITIONS

    def hold(self, namespace: str, name: str) -> bool:
        """Whether an execution or record belongs to them."""
        return self.is_all or partition_of(namespace, name) in self


ALL_PARTITIONS = Partitions(range(PARTITIONS))
NO_PARTITIONS = Partitions()
