"""Machines apart: network namespaces, each with two wires, one to the database and one to everybody else.

The process moves into a namespace of its own first, so nothing that is done here is seen by others on the machine, and
nothing stays behind. What listens on loopback there is reached from the machines at the first address of their wire
to the database, on the same port. A wire is cut by dropping its packets: nobody is told, and nothing is closed.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import time
from pathlib import Path

from tests.servers.machine import leave_with_parent, need

PACKAGES = "iproute2 nftables util-linux"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
WAYS = (("to",), ("from",), ("to", "from"), ("to", "from"))
"""What of a wire is cut: what goes to the database, what comes from there, or both, which is the usual case."""
_RULES = """
table ip wires {
    set to { type ifname; }
    set from { type ifname; }
    chain arrive { type filter hook prerouting priority raw; iifname @to drop; }
    chain leave { type filter hook postrouting priority raw; oifname @from drop; }
    chain forward { type nat hook prerouting priority dstnat; iifname "db*" dnat to 127.0.0.1; }
    chain hide { type nat hook input priority 100; iifname "db*" snat to 127.0.0.1; }
}
"""


def move_out() -> None:
    """This process, and what it starts, is alone on its network from now on. Called before there are any threads.

    Raises NotInstalled.
    """
    ip, nft, _ = need(PACKAGES, "ip", "nft", "nsenter")
    if _libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace")
    _run(ip, "link", "set", "lo", "up")
    subprocess.run([nft, "-f", "-"], input=_RULES, text=True, check=True)


class Host:
    """A machine that has been given a name and a number.

    Attributes:
        address: where it is reached.
        database: where it reaches what listens on loopback.
    """

    def __init__(self, number: int) -> None:
        ip, self._nft, self._nsenter = need(PACKAGES, "ip", "nft", "nsenter")
        self._wire = f"db{number}"
        self.address, self.database = f"10.212.{number}.2", f"10.211.{number}.1"
        self._holder = subprocess.Popen(
            [*need("util-linux", "unshare"), "--net", "sleep", "infinity"], preexec_fn=leave_with_parent
        )
        self._await_namespace()
        self._enter("ip", "link", "set", "lo", "up")
        for name, network in ((self._wire, "10.211"), (f"all{number}", "10.212")):
            _run(ip, "link", "add", name, "type", "veth", "peer", "name", f"to-{name}", "netns", str(self._holder.pid))
            _run(ip, "addr", "add", f"{network}.{number}.1/30", "dev", name)
            _run(ip, "link", "set", name, "up")
            self._enter("ip", "addr", "add", f"{network}.{number}.2/30", "dev", f"to-{name}")
            self._enter("ip", "link", "set", f"to-{name}", "up")
        Path(f"/proc/sys/net/ipv4/conf/{self._wire}/route_localnet").write_text("1")

    def command(self, *command: str) -> list[str]:
        """What runs a command there."""
        return [self._nsenter, f"--net=/proc/{self._holder.pid}/ns/net", *command]

    def cut(self, ways: tuple[str, ...]) -> None:
        """Let nothing pass that goes to the database, or comes from it."""
        for way in ways:
            _run(self._nft, "add", "element", "ip", "wires", way, f"{{ {json.dumps(self._wire)} }}")

    def heal(self) -> None:
        """All passes again."""
        for way in ("to", "from"):
            _run(self._nft, "flush", "set", "ip", "wires", way)

    def release(self) -> None:
        """It is not needed any more: with its last process it is gone."""
        self._holder.kill()
        self._holder.wait()

    def _enter(self, *command: str) -> None:
        _run(*self.command(*command))

    def _await_namespace(self) -> None:
        here = os.readlink("/proc/self/ns/net")
        ends_at = time.monotonic() + 10
        while os.readlink(f"/proc/{self._holder.pid}/ns/net") == here:
            if time.monotonic() > ends_at:
                raise RuntimeError("no network namespace came about")
            time.sleep(0.01)  # the other process has no event for this one


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
