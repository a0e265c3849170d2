"""A disk that is full for a while: said clearly, nothing lost, and served again once there is room.

A limit on the size of files (RLIMIT_FSIZE) stands for the full disk, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, logging, resource, signal, sys
from pathlib import Path
from perdure import EngineError
from tests.badinput.ordinary import EFFECTS, opened, ordinary

logging.disable()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
with opened(path) as engine:
    engine._engine._reach.retry_s = 0.2  # so that callers are told soon, instead of after ten seconds
    for number in range(5):
        engine.run(ordinary, number, id=f"before-{number}")
    room = Path(f"{path}-wal").stat().st_size + 60_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    started, complaint = 0, ""
    try:
        while started < 1000:
            engine.start(ordinary, started, id=f"during-{started}")
            started += 1
    except EngineError as error:
        complaint = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    results = [engine.run(ordinary, number, id=f"during-{number}") for number in range(started)]
    results += [engine.run(ordinary, number, id=f"before-{number}") for number in range(5)]
    engine.run(ordinary, 1, id="after")
    print(json.dumps([complaint, started, results, engine.count(), max(EFFECTS.values())]))
"""


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    complaint, started, results, count, _ = json.loads(done.stdout)
    assert "disk" in complaint
    assert str(path) in complaint
    assert 0 < started < 1000
    assert results == [number + 1 for number in range(started)] + [number + 1 for number in range(5)]
    assert count in (started + 6, started + 7), "the start that was refused may not have happened"
