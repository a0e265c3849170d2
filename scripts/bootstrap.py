"""Makes `.venv` hold exactly what a lock file says, and does nothing when it already does.

`make demo` and `make test` must work on a bare Debian with Python 3.11 or later, git and make. So this
script needs the standard library alone, installs only from hashed locks, and when something is missing on
the machine it says in one sentence what to install.

    python3 scripts/bootstrap.py dev      # installs requirements/dev.txt and perdure itself, editable

What was installed is remembered in `.venv/.installed-<lock>`, a hash over the lock, the package's
metadata, the interpreter and the place: a second run costs a few milliseconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)

NO_PIP = f"""\
This Python ({sys.executable}) can make a virtual environment, but has no pip to put into it.
On Debian and Ubuntu:  sudo apt install python3-venv
Then run the same command again."""


class BootstrapError(Exception):
    """The machine lacks something; the message names the fix."""


def fingerprint(lock: Path) -> str:
    """What `.venv` depends on: changes when, and only when, something has to be installed again."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [
        lock.read_text(encoding="utf-8"),
        json.dumps([metadata["project"], metadata["build-system"]], sort_keys=True),
        sys.version,
        str(ROOT),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def works(command: list[str]) -> bool:
    """Whether a command can be started and ends well."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(command: list[str]) -> None:
    """Run a command whose output the user sees only when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BootstrapError(f"{done.stdout}{done.stderr}\nThis failed: {' '.join(command)}")


def make_venv() -> list[str]:
    """Make `.venv` if it is missing or broken. Returns the pip command that installs into it."""
    pip = [str(PYTHON), "-m", "pip"]
    if works([*pip, "--version"]):
        return pip
    if VENV.exists():
        print(f"{VENV.name} is broken (moved, or its Python is gone): making it anew", flush=True)
        shutil.rmtree(VENV)
    if works([sys.executable, "-m", "venv", str(VENV)]):
        return pip
    # Debian takes ensurepip out of Python; a pip that the machine has can still install into a venv.
    outside_pip = [sys.executable, "-m", "pip"]
    if works([*outside_pip, "--version"]) and works([sys.executable, "-m", "venv", "--without-pip", str(VENV)]):
        return [*outside_pip, "--python", str(PYTHON)]
    shutil.rmtree(VENV, ignore_errors=True)
    raise BootstrapError(NO_PIP)


def install(name: str) -> None:
    """Bring `.venv` in line with `requirements/<name>.txt`."""
    lock = ROOT / "requirements" / f"{name}.txt"
    stamp = VENV / f".installed-{name}"
    wanted = fingerprint(lock)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and works([str(PYTHON), "-c", "import perdure"]):
        return
    print(f"Installing requirements/{name}.txt into {VENV.name} (once; a minute or two) ...", flush=True)
    pip = [*make_venv(), "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    # The lock is complete and hashed: no resolving, and nothing is built, so no hash is ever missing.
    run([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)])
    run([*pip, "--no-build-isolation", "--editable", str(ROOT)])
    stamp.write_text(wanted, encoding="utf-8")


def main(names: list[str]) -> int:
    """Install each named lock; 0 when all is well, 1 with one clear message otherwise."""
    if sys.version_info < OLDEST:
        print(f"perdure needs Python {OLDEST[0]}.{OLDEST[1]} or later; this is {sys.version.split()[0]}.")
        return 1
    with (ROOT / ".venv.lock").open("w") as lock:  # two `make` at once must not install over one another
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            for name in names:
                install(name)
        except BootstrapError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["runtime"]))
