"""Processes of one file die by SIGKILL, and nothing is lost or done twice; `make share` does it at length."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sharing import Campaign


def test_a_web_service_of_several_processes_loses_no_order_and_charges_nobody_twice(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, requests=120, workers=2, kill_every_s=1.5, seed=7, say=print, kills_max=3)
    found = campaign.run()
    assert found.problems == []
    assert found.kills == 3 and found.owners_killed >= 1
    assert found.commands >= 4
