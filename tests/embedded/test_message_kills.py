"""Nothing is lost or done twice under SIGKILLs; `python -m benchmarks.kills` does it at length."""

from __future__ import annotations

from pathlib import Path

from benchmarks.kills.campaign import Campaign


def test_signals_updates_sagas_and_children_survive_kills(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, workflows=4, kills=5, seed=5, say=print)
    found = campaign.run()
    assert campaign.dealt >= 3
    assert found.problems == []
    assert (found.workflows, found.signals, found.updates) == (72, 204, 24)
