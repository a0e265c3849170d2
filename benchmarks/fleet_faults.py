"""What happens to a fleet in `benchmarks.fleet_kills`: the databases that it works on, and the faults that come.

A fault strikes, stays for a while, and heals. Each scene has a database, and a deck of faults that is shuffled and
dealt again and again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from tests.servers.fixtures import execute_mariadb, url
from tests.servers.galera import Galera, Member
from tests.servers.patroni import Patroni
from tests.servers.server import Server

AWAY_S = (0.0, 3.0)
"""How long who is killed stays away."""
CUT_S = (5.0, 20.0)
"""How long a network is cut."""
_PROBE_S = 0.2


@dataclass
class Fault:
    """One that comes again and again: what it is counted as, what strikes, what heals, and how long it stays."""

    kind: str
    strike: Callable[[], object]
    heal: Callable[[], object]
    away_s: tuple[float, float] = AWAY_S


class Database(Protocol):
    """What the nodes share."""

    def start_all(self) -> None:
        """Return when it serves."""
        ...

    def url(self, node: int) -> str:
        """Where a node finds it."""
        ...

    def probe(self) -> Callable[[], None] | None:
        """Something that writes to it, and raises when that fails; None: how long it is away is not of interest."""
        ...

    def faults(self, of_fleet: list[Fault]) -> list[Fault]:
        """The deck of its scene, of what may happen to it and to the fleet."""
        ...

    def release(self) -> None:
        """It is not needed any more."""
        ...


class OneServer:
    """PostgreSQL or MariaDB, which waits for its disk."""

    def __init__(self, kind: str) -> None:
        self.server = Server.private(kind)
        if kind == "mariadb":
            execute_mariadb(self.server, "CREATE DATABASE perdure")
        self._database = "perdure" if kind == "mariadb" else "postgres"

    def start_all(self) -> None:
        """It runs since it was made."""

    def url(self, node: int) -> str:
        """The same for all."""
        return url(self.server, self._database)

    def probe(self) -> None:
        """Its kills were measured by what the fleet does, restart and all."""

    def faults(self, of_fleet: list[Fault]) -> list[Fault]:
        """It is killed, with all of its processes, and everybody else."""
        return [*of_fleet, *[Fault("database", self.server.kill, self.server.start)] * 2]

    def release(self) -> None:
        """It ends."""
        self.server.release()


class FailOver:
    """PostgreSQL under Patroni, through HAProxy."""

    def __init__(self) -> None:
        self._cluster = Patroni()

    def start_all(self) -> None:
        """One leads, the others follow."""
        self._cluster.start()

    def url(self, node: int) -> str:
        """The same for all: HAProxy's."""
        return self._cluster.url

    def probe(self) -> Callable[[], None]:
        """A commit that a stand-by has, too."""
        import psycopg

        with psycopg.connect(self._cluster.conninfo, autocommit=True) as connection:
            connection.execute("CREATE TABLE probe AS SELECT 0 AS n")

        def write() -> None:
            with closing(psycopg.connect(self._cluster.conninfo, autocommit=True)) as connection:
                connection.execute("UPDATE probe SET n = n + 1")

        return write

    def faults(self, of_fleet: list[Fault]) -> list[Fault]:
        """The leader's machine is lost three times, then Patroni is asked to have another one lead."""
        lost: list[Callable[[], None]] = []

        def strike() -> None:
            leader = self._cluster.leader()
            if leader is not None:
                leader.machine.kill()
                lost.append(leader.start)

        def heal() -> None:
            while lost:
                lost.pop()()
            self._cluster.await_members()

        return [
            *[Fault("leader", strike, heal)] * 3,
            Fault("switch-over", self._cluster.switch_over, self._cluster.await_members),
        ]

    def release(self) -> None:
        """All of it ends."""
        self._cluster.release()


class Group:
    """MariaDB under Galera: each node works on a member of its own."""

    def __init__(self) -> None:
        self._cluster = Galera()

    def start_all(self) -> None:
        """All are in step."""
        self._cluster.start()

    def url(self, node: int) -> str:
        """That of its member."""
        return self._cluster.url(node)

    def probe(self) -> None:
        """Two of three are always there."""

    def faults(self, of_fleet: list[Fault]) -> list[Fault]:
        """A member is lost, and comes back with what the others have kept for it, or once in a while with nothing."""

        def fault(member: Member, *, is_wiped: bool) -> Fault:
            def heal() -> None:
                if is_wiped:
                    member.wipe()
                member.start()
                self._cluster.await_member(member)

            return Fault("member and its data" if is_wiped else "member", member.lose, heal)

        kept = [fault(one, is_wiped=False) for one in self._cluster.members]
        return [*kept, fault(self._cluster.members[-1], is_wiped=True)]

    def release(self) -> None:
        """All of it ends."""
        self._cluster.release()


@dataclass
class Absences:
    """When a database took no commits, as somebody saw who tried all the time."""

    spans: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def watch(self, write: Callable[[], None] | None, is_over: Callable[[], bool]) -> None:
        """Try, until it is over. Monotonic times."""
        if write is None:
            return
        since: float | None = None
        while not is_over():
            begin = time.monotonic()
            try:
                write()
            except Exception:  # whatever it is: it was not written
                since = since or begin
            else:
                if since is not None:
                    self.spans.append((since, time.monotonic()))
                since = None
            time.sleep(_PROBE_S)
        if since is not None:
            self.spans.append((since, time.monotonic()))

    @property
    def longest_s(self) -> float:
        """Of all."""
        return max((end - begin for begin, end in self.spans), default=0.0)

    def within_s(self, begin: float, end: float) -> float:
        """How much of a time it was away."""
        return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in self.spans)


def longest_gap_s(times: Sequence[float], absences: Absences) -> tuple[float, float]:
    """The most time between two moments, and the most of it while the database was there."""
    gaps = list(itertools.pairwise(sorted(times)))
    longest = max((later - earlier for earlier, later in gaps), default=0.0)
    ours = max((later - earlier - absences.within_s(earlier, later) for earlier, later in gaps), default=0.0)
    return longest, ours
