"""The faces that tests put before one store are stores themselves, and carry notices between engines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perdure.stores.api import Hear, StoreError
from perdure.stores.memory import MemoryStore
from perdure.stores.sqlite import SqliteStore
from tests.engine.shared import Shared
from tests.stores.given import APPLIED, Run


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_engines_see_one_anothers_commits_and_notices(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        shared = Shared(MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "store.db"))
        one, two, three = shared.face(), shared.face(), shared.face()
        await one.open()
        await two.open()
        heard: list[tuple[str, bytes | None]] = []
        for name, face in (("one", one), ("two", two)):
            await face.listen("news", lambda notice, name=name: heard.append((name, notice)))
        await one.notify("news", [b"a", b"b"])
        await two.notify("other", [b"c"])
        two.gap()
        await asyncio.sleep(0)
        assert heard == [("two", b"a"), ("two", b"b"), ("two", None)], "nobody hears itself"
        run = Run()
        assert await one.commit([run.commit()]) == [APPLIED]
        assert await two.load([run.reference]) == [run.execution]
        with pytest.raises(StoreError, match="not open"):
            await three.load([run.reference])
        await one.close()
        with pytest.raises(StoreError, match="not open"):
            await one.notify("news", [b"d"])
        assert await two.load([run.reference]) == [run.execution]
        await two.close()

    asyncio.run(scenario())


def test_a_post_may_lose_a_notice_and_bring_another_twice() -> None:
    async def scenario() -> None:
        def post(hear: Hear, notice: bytes | None) -> None:
            for _ in range(0 if notice == b"lost" else 2):
                hear(notice)

        shared, heard = Shared(MemoryStore(), post), list[bytes | None]()
        one, two = shared.face(), shared.face()
        await one.open()
        await two.open()
        await two.listen("news", heard.append)
        await one.notify("news", [b"lost", b"twice"])
        assert heard == [b"twice", b"twice"]

    asyncio.run(scenario())
