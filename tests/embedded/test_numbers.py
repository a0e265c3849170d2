"""Numbers that no engine can do anything with are refused at the user's line, and harm nobody else."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, workflow
from perdure.testing import TestEngine


@workflow
def done() -> str:
    return "done"


@workflow
def naps(nap: dict[str, float]) -> str:
    try:
        workflow.sleep(**nap)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        return str(error)
    return "slept"


@workflow
async def waits(seconds: str) -> str:
    """Until something happens that never does: as libraries wait "for ever"."""
    forever = asyncio.ensure_future(asyncio.sleep(float(seconds)))
    done, _ = await asyncio.wait([forever], timeout=60)
    forever.cancel()
    return "slept" if done else "waited"


BAD: list[tuple[str, Any]] = [
    *(("start_delay", 290 * 365 * 86400.0), ("start_delay", math.inf), ("start_delay", timedelta.max)),
    *(("run_timeout", 1e12), ("execution_timeout", "600 weeks 200000 days"), ("task_timeout", 10**30)),
]


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/a.db"])
def test_one_bad_number_refuses_nobody_elses_start(url: str, tmp_path: Path) -> None:
    with Engine(url.format(tmp_path)) as engine:
        for number, (option, value) in enumerate(BAD * 3):
            with pytest.raises(ValueError, match=f"{option} must be"):
                engine.start(done, id=f"bad-{number}", **{option: value})
            engine.start(done, id=f"good-{number}")
        results = [engine.get(f"good-{number}").result() for number in range(3 * len(BAD))]
    assert results == ["done"] * len(results)


@pytest.mark.parametrize("nap", [{"days": 1e10}, {"hours": 1e300}, {"seconds": 4e9}, {"days": 30_000, "hours": 24e4}])
def test_a_nap_beyond_a_century_is_refused_at_its_line(nap: dict[str, float]) -> None:
    with TestEngine() as engine:
        assert "sleep's duration must be" in engine.run(naps, nap)


@pytest.mark.parametrize("seconds", ["inf", "1e12", "1e300"])
def test_a_library_may_wait_for_ever(seconds: str) -> None:
    with TestEngine() as engine:
        assert engine.run(waits, seconds) == "waited"


@pytest.mark.parametrize("length", [{"days": 36_500}, {"seconds": 3_153_600_000.0}])
def test_a_nap_of_a_century_is_a_nap(length: dict[str, float]) -> None:
    with TestEngine(patience=timedelta(days=36_500)) as engine:
        engine.run(done)
        started = engine.start(naps, length, id="long")
        assert started.describe().status.name == "RUNNING"


@pytest.mark.parametrize("year", [1, 1677, 2262, 9999])
def test_a_test_begins_at_a_time_that_a_store_holds(year: int) -> None:
    with pytest.raises(ValueError, match="starts_at must be in the years 1678 to 2261"):
        TestEngine(starts_at=datetime(year, 1, 1, tzinfo=UTC))
