"""A process with all that it starts, as on a machine of its own: SIGKILL ends everything there at one moment.

Patroni, `mariadbd` and their likes start processes that outlive them, in sessions of their own. In a PID namespace
they do not: the kernel ends it with its first process. Nothing of it outlives the process that has made it, either.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.kinds import ENVIRONMENT, NotAllowed, NotInstalled, server_user

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def need(packages: str, *programs: str) -> list[str]:
    """The paths of programs. Raises NotInstalled, which says what to install; NotAllowed where this is not root."""
    if os.geteuid() != 0:
        raise NotAllowed("namespaces need root")
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = [shutil.which(program, path=path) for program in programs]
    if None in found:
        raise NotInstalled(f"{programs[found.index(None)]} is not on this machine: `apt-get install {packages}`")
    return [name for name in found if name]


def need_namespaces() -> None:
    """Raises NotAllowed where there can be no machine of one's own."""
    [unshare] = need("util-linux", "unshare")
    tried = subprocess.run([unshare, "--pid", "--fork", "--mount-proc", "true"], check=False, capture_output=True)
    if tried.returncode:
        raise NotAllowed("this machine lets nobody make a PID namespace")


def leave_with_parent() -> None:
    """Between fork and exec: SIGKILL when the thread that has forked ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


class Machine:
    """One."""

    def __init__(
        self, command: Sequence[str], directory: Path, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = {**ENVIRONMENT, **(environment or {})}
        self.log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Begin; `more` is added to its command."""
        unshare, setpriv = need("util-linux", "unshare", "setpriv")
        user = pwd.getpwuid(server_user() or 0)
        place = [unshare, "--pid", "--fork", "--mount-proc"]
        # `unshare --kill-child --setuid` would not do: a change of user undoes what is to be done when a parent dies.
        who = [
            setpriv,
            "--reuid",
            str(user.pw_uid),
            "--regid",
            str(user.pw_gid),
            "--clear-groups",
            "--pdeathsig",
            "KILL",
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*place, *who, *self._command, *more], cwd="/", env=self._environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=leave_with_parent, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL of everything; returns when it is gone. Nothing happens where nothing is."""
        process, self._process = self._process, None
        if process is None:
            return
        first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in first:
            os.kill(int(pid), signal.SIGKILL)
        process.kill()
        process.wait()
        ends_at = time.monotonic() + 10
        while any(_is_there(pid) for pid in first):
            if time.monotonic() > ends_at:
                raise RuntimeError(f"{self._command[0]} did not end")
            time.sleep(0.01)  # the kernel ends them, and tells nobody who is not their parent

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def complaint(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]


def _is_there(pid: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
