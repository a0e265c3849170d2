"""The socket beside a store's file, `orders.db.sock`: where its owner serves the other processes.

The name of a Unix socket may have 107 bytes (`sun_path` in unix(7)), and directories are often deeper than that. A
longer one is reached by way of a descriptor of its directory, as `/proc/self/fd/7/orders.db.sock`, which names the same
socket; a file whose own name is that long has a socket with a name made of its hash.
"""

from __future__ import annotations

import os
import socket
import stat
from hashlib import sha256
from pathlib import Path

_NAME_BYTES_MAX = 107
_LONG_NAME_BYTES = 80
"""A file's name of so many bytes fits behind `/proc/self/fd/12345/`."""
_PRIVATE = 0o600


def socket_path(store: Path) -> Path:
    """Where the socket of a store is. `store`: resolved, so that a file has one socket under all its names."""
    name = f"{store.name}.sock"
    if len(os.fsencode(name)) > _LONG_NAME_BYTES:
        name = f".perdure-{sha256(os.fsencode(store.name)).hexdigest()[:16]}.sock"
    return store.with_name(name)


class Address:
    """The socket of a store by a name that is short enough, until `close`. Raises OSError."""

    def __init__(self, store: Path) -> None:
        self.path = socket_path(store)
        self._directory = -1
        self.name = os.fspath(self.path)
        if len(os.fsencode(self.name)) > _NAME_BYTES_MAX:
            self._directory = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.name = f"/proc/self/fd/{self._directory}/{self.path.name}"

    def listen(self) -> socket.socket:
        """A socket that listens there, for this user alone. In the place of one that a dead owner left.

        Only the owner of the store may do so. Raises OSError.
        """
        self.remove()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            listening.bind(self.name)
            os.chmod(self.name, _PRIVATE)  # before `listen`: until then nobody can connect
            listening.listen(1024)
        except BaseException:
            listening.close()
            raise
        return listening

    def remove(self) -> None:
        """Take the socket away. Raises OSError when something else has its name."""
        try:
            is_socket = stat.S_ISSOCK(os.lstat(self.name).st_mode)
        except FileNotFoundError:
            return
        if not is_socket:
            raise FileExistsError(f"{self.path} is there and is no socket")
        os.unlink(self.name)

    def why_closed(self) -> str | None:
        """Why nobody can connect there now; None: somebody listens. Does not wait."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self.name)
            except OSError as error:
                return f"{self.path}: {error.strerror}"
        return None

    def close(self) -> None:
        """Idempotent."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
