"""Starting processes and killing them.

Every child is told to leave when its standard input closes, so that nothing is left running when the demo
itself is killed. The engine's process is ended in one way alone: SIGKILL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.demo.orders import CATALOGUE
from perdure.demo.services.client import INVENTORY_URL, PAYMENTS_URL, SHIPPING_URL, ServiceClient

READY_TIMEOUT_S = 30.0


class ProcessFailed(Exception):
    """A process ended, or kept silent, when it should have been at work; carries what it said on stderr."""


class Process:
    """A Python program running as a process of its own, its output read line by line."""

    def __init__(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Run `python command…`, with `environment` over this process's own."""
        self.name = " ".join(command[:2])
        self.started_at_ns = time.time_ns()
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self._process.stdout, self.lines), (self._process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._process.poll()

    def wait_line(self, prefix: str, timeout_s: float = READY_TIMEOUT_S) -> str:
        """The rest of the first line that begins so. Raises ProcessFailed when none comes."""

        def found() -> str | None:
            return next((line[len(prefix) :].strip() for line in self.lines if line.startswith(prefix)), None)

        with self._news:
            self._news.wait_for(lambda: found() is not None or self._process.poll() is not None, timeout_s)
        self._finish_reading_if_ended()
        line = found()
        if line is None:
            raise ProcessFailed(f"{self.name} said no {prefix!r}: {self._last_words()}")
        return line

    def wait(self, timeout_s: float) -> int:
        """The process's exit code. Raises ProcessFailed when it does not end in time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailed(f"{self.name} did not end within {timeout_s:.0f} s: {self._last_words()}") from error
        self._finish_reading_if_ended()
        return self._process.returncode

    def kill_9(self) -> None:
        """SIGKILL: no handler runs, no buffer is flushed, nothing is said. Returns when it is dead."""
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()
        self.close()

    def close(self) -> None:
        """End it if it runs, and let go of its pipes. Idempotent."""
        if not self.ended:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            with self._news:
                lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _finish_reading_if_ended(self) -> None:
        if self.ended:
            for reader in self._readers:
                reader.join()

    def _last_words(self) -> str:
        return "\n".join(self.errors[-20:]) or "(it said nothing on stderr)"

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Service:
    """A running service: its process, its ledger file, a client of it. It ends with its `with` block."""

    process: Process
    ledger: Path
    client: ServiceClient

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.close()


def start_service(name: str, ledger: Path) -> Service:
    """Start `perdure.demo.services.NAME` and wait until it can be called."""
    return _service(_service_process(name, ledger), ledger)


def _service_process(name: str, ledger: Path) -> Process:
    return Process("-m", f"perdure.demo.services.{name}", "--ledger", str(ledger), "--leave-with-parent")


def _service(process: Process, ledger: Path) -> Service:
    return Service(process, ledger, ServiceClient(process.wait_line("ready ")))


class Town:
    """The outside world: gateway, warehouse and carrier, each in its process, with full shelves.

    Use as a context manager; `directory` then holds the three ledgers.
    """

    payments: Service
    inventory: Service
    shipping: Service

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Town:
        with self._stack:  # whatever fails below, what was started is ended
            starting: list[tuple[Process, Path]] = []
            for name in ("payment_gateway", "inventory", "shipping"):
                ledger = self._directory / f"{name}.db"
                starting.append((self._stack.enter_context(_service_process(name, ledger)), ledger))
            self.payments, self.inventory, self.shipping = (_service(*started) for started in starting)
            stock = {sku: product.stock for sku, product in CATALOGUE.items()}
            self.inventory.client.post("/stock", {"order_id": "opening", "quantities": stock}, key="opening")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def services(self) -> tuple[Service, Service, Service]:
        return self.payments, self.inventory, self.shipping

    @property
    def ledgers(self) -> list[Path]:
        return [service.ledger for service in self.services]

    @property
    def environment(self) -> dict[str, str]:
        """What tells a process where the services are."""
        return {
            PAYMENTS_URL: self.payments.client.url,
            INVENTORY_URL: self.inventory.client.url,
            SHIPPING_URL: self.shipping.client.url,
        }


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Look every few milliseconds until it is so. Raises ProcessFailed naming `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ProcessFailed(f"waited {timeout_s:.0f} s in vain until {what}")
        time.sleep(0.005)
