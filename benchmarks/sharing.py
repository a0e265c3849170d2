"""A web service of several processes on one SQLite file: they are killed at random while it is asked and steered.

    python -m benchmarks.sharing --requests 10000 --workers 4 --seed 7

`uvicorn examples.web_service:app --workers 4` is asked over HTTP for so many orders; an order that gets no answer is
asked for again under its id, as a client would. Meanwhile one of the processes is killed with SIGKILL every few
seconds, every second time the one that owns the file; uvicorn starts another in its place. And `perdure workflow`
steers the running service: every hundredth order waits for a signal that comes from the command line alone.

At the end the file and the bank are read: every order that was acknowledged is COMPLETED, charged exactly once; nothing
else is there; the store is sound.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from perdure.stores.reading import StoreFile
from perdure.stores.sqlite.ownership import read_owner

ROOT = Path(__file__).parents[1]
HELD_EVERY = 100
OPERATORS = 4
STALL_S = 90.0
"""A request, or the whole, that does not come further for so long has failed."""


@dataclass(slots=True)
class Found:
    """What a campaign saw."""

    requests: int = 0
    repeated: int = 0
    kills: int = 0
    owners_killed: int = 0
    commands: int = 0
    took_s: float = 0.0
    longest_s: float = 0.0
    """The slowest acknowledgement, its repetitions included."""
    median_ms: float = 0.0
    taken_over_s: list[float] = field(default_factory=list[float])
    """From the death of an owner until another has the file."""
    problems: list[str] = field(default_factory=list[str])


class Campaign:
    """One service, killed and asked. `run` it once."""

    def __init__(
        self,
        folder: Path,
        *,
        requests: int,
        workers: int,
        kill_every_s: float,
        seed: int,
        say: Callable[[str], None],
        kills_max: int = 1 << 30,
    ) -> None:
        """`say` is given a line for every kill. With a greatest number of kills the requests wait for them: a service
        that were quicker than its killer would be tested by nobody."""
        self.found = Found(requests)
        self._folder = folder
        self._store = folder / "orders.db"
        self._workers = workers
        self._kill_every_s = kill_every_s
        self._kills_max = kills_max
        self._is_paced = kills_max < requests
        self._chance = random.Random(seed)
        self._say = say
        self._acknowledged = 0
        self._over = threading.Event()
        self._asked = threading.Event()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]

    def run(self) -> Found:
        """Raises AssertionError when the service does not come up, or a request is never acknowledged."""
        environment = {**os.environ, "ORDERS": str(self._store), "BANK": str(self._folder / "bank.db")}
        command = [sys.executable, "-m", "uvicorn", "examples.web_service:app", "--workers", str(self._workers)]
        command += ["--port", str(self._port), "--log-level", "warning"]
        with (
            open(self._folder / "service.log", "wb") as log,
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as service,
        ):
            try:
                self._drive(service)
            finally:
                self._over.set()
                service.send_signal(signal.SIGTERM)
                try:
                    service.wait(30)
                except subprocess.TimeoutExpired:
                    self._kill_all(service)
        self._audit()
        return self.found

    def _drive(self, service: subprocess.Popen[bytes]) -> None:
        self._ask("warm-up", held=False)
        helpers = [
            threading.Thread(target=self._kill_again_and_again, args=(service,)),
            threading.Thread(target=self._steer),
        ]
        for helper in helpers:
            helper.start()
        began = time.monotonic()
        try:
            with ThreadPoolExecutor(8) as clients:
                numbers = range(self.found.requests)
                took = list(clients.map(self._ask_in_time, numbers))
            self._asked.set()
            self._await_all()
        finally:
            self._asked.set()
            self._over.set()
            for helper in helpers:
                helper.join()
        self.found.took_s = time.monotonic() - began
        self.found.longest_s = max(took)
        self.found.median_ms = statistics.median(took) * 1e3

    # --- clients ----------------------------------------------------------------------------------

    def _ask_in_time(self, number: int) -> float:
        """The request of this number, once as many kills have come as are due by then."""
        due = min(self._kills_max, number * (self._kills_max + 1) // self.found.requests) if self._is_paced else 0
        began = time.monotonic()
        while self.found.kills < due and time.monotonic() - began < STALL_S:
            self._over.wait(0.05)
        return self._ask(f"order-{number}", held=number % HELD_EVERY == 0)

    def _ask(self, order: str, *, held: bool) -> float:
        """Until the order is acknowledged; returns how long it took, in seconds."""
        began = time.monotonic()
        while time.monotonic() - began < STALL_S:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("POST", f"/orders/{order}{'?held' if held else ''}")
                if connection.getresponse().status == 202:
                    self._acknowledged += 1
                    return time.monotonic() - began
            except (OSError, http.client.HTTPException):
                pass  # its process was killed, or none is up: who gets no answer asks again
            finally:
                connection.close()
            self.found.repeated += order != "warm-up"
            time.sleep(0.05)
        raise AssertionError(f"{order} was not acknowledged in {STALL_S:.0f} s: see {self._folder}/service.log")

    def _await_all(self) -> None:
        last, since = -1, time.monotonic()
        while (still := self._count("RUNNING")) > 0:
            if still != last:
                last, since = still, time.monotonic()
            elif time.monotonic() - since > STALL_S:
                raise AssertionError(f"{still} orders do not go on: see {self._folder}/service.log")
            time.sleep(0.25)

    def _count(self, status: str) -> int:
        with StoreFile(str(self._store)) as file:
            return len(file.find(f"ExecutionStatus = '{status.title()}'"))

    # --- kills ------------------------------------------------------------------------------------

    def _kill_again_and_again(self, service: subprocess.Popen[bytes]) -> None:
        while not self._over.wait(self._chance.uniform(0.2, 1.8) * self._kill_every_s):
            alive = _children(service.pid)
            if len(alive) < self._workers or self.found.kills >= self._kills_max:
                continue  # those that were killed are not there again
            owner = read_owner(self._store)
            owners = [child for child in alive if owner is not None and child == owner.pid]
            # Every second time the one that owns the file, if it is up.
            victim = owners[0] if owners and self.found.kills % 2 == 0 else self._chance.choice(alive)
            is_owner = victim in owners
            os.kill(victim, signal.SIGKILL)
            self.found.kills += 1
            self.found.owners_killed += is_owner
            if is_owner:
                self._time_the_hand_over(victim)
            of_owner = ", which owned the file" if is_owner else ""
            self._say(f"kill {self.found.kills}: process {victim}{of_owner}, after {self._acknowledged:,} orders")

    def _time_the_hand_over(self, victim: int) -> None:
        began = time.monotonic()
        while time.monotonic() - began < STALL_S:
            owner = read_owner(self._store)
            if owner is not None and owner.pid != victim:
                self.found.taken_over_s.append(time.monotonic() - began)
                return
            time.sleep(0.005)
        self.found.problems.append(f"nobody took the file when process {victim} was killed")

    @staticmethod
    def _kill_all(service: subprocess.Popen[bytes]) -> None:
        for child in _children(service.pid):
            os.kill(child, signal.SIGKILL)
        service.kill()

    # --- the command line -------------------------------------------------------------------------

    def _steer(self) -> None:
        """Release what is held, look, pause and let go on: all of it by commands, a few at a time."""
        with ThreadPoolExecutor(OPERATORS) as operators:
            list(operators.map(self._steer_one, range(0, self.found.requests, HELD_EVERY)))

    def _steer_one(self, number: int) -> None:
        order = f"order-{number}"
        if not self._until_started(order):
            return
        if number % (5 * HELD_EVERY) == 0:
            self._command("workflow", "pause", order)
            self._command("workflow", "describe", order)
            self._command("workflow", "unpause", order)
        self._command("workflow", "signal", order, "release")

    def _until_started(self, order: str) -> bool:
        began = time.monotonic()
        while time.monotonic() - began < 10 * STALL_S:
            with StoreFile(str(self._store)) as file:
                if file.load(order) is not None:
                    return True
            if self._asked.wait(0.05) and self._over.is_set():
                return False
        return False

    def _command(self, *words: str) -> None:
        self.found.commands += 1
        done = subprocess.run(
            [sys.executable, "-m", "perdure", *words, "--store", f"sqlite:///{self._store}"],
            capture_output=True, text=True, timeout=STALL_S, check=False, cwd=ROOT,
        )  # fmt: skip
        if done.returncode:
            self.found.problems.append(f"perdure {' '.join(words)}: {done.stdout}{done.stderr}")

    # --- the audit --------------------------------------------------------------------------------

    def _audit(self) -> None:
        wanted = {"warm-up", *(f"order-{n}" for n in range(self.found.requests))}
        problems = self.found.problems
        with StoreFile(str(self._store)) as file:
            closed = {one.key.workflow_id: one.status for one in file.find("ExecutionStatus = 'Completed'")}
            count = len(file.find(""))
            problems += file.check()
        problems += [f"{order} is not completed" for order in sorted(wanted - set(closed))[:10]]
        if count != len(wanted):
            problems.append(f"{count} executions for {len(wanted)} orders")
        bank = sqlite3.connect(self._folder / "bank.db")
        charges = Counter(order for (order,) in bank.execute("SELECT order_id FROM charges"))
        bank.close()
        problems += [f"{order} was charged {n} times" for order, n in charges.items() if n != 1]
        problems += [f"{order} was not charged" for order in sorted(wanted - set(charges))[:10]]


def _children(pid: int) -> list[int]:
    """The worker processes of a service."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        return []  # one has just ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=3.0, help="seconds, on average")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(
            Path(folder), requests=arguments.requests, workers=arguments.workers, kill_every_s=arguments.kill_every,
            seed=arguments.seed, say=print,
        )  # fmt: skip
        found = campaign.run()
    figures = {
        "requests": found.requests, "repeated": found.repeated, "kills": found.kills,
        "owners_killed": found.owners_killed, "commands": found.commands, "took_s": round(found.took_s, 1),
        "median_ms": round(found.median_ms, 1), "slowest_s": round(found.longest_s, 2),
        "taken_over_s_max": round(max(found.taken_over_s, default=0.0), 3), "problems": found.problems[:20],
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    sys.exit(1 if found.problems else 0)


if __name__ == "__main__":
    main()
