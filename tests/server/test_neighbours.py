"""Every attack of `benchmarks.neighbours` for two seconds; how fast the honest are is for the benchmark to say."""

from __future__ import annotations

import pytest

from benchmarks.neighbours.__main__ import RSS_MB_MAX, play
from benchmarks.neighbours.attacks import ATTACKS


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_no_call_of_an_honest_client_fails_beside(attack: str) -> None:
    outcome = play(attack, seconds=2.0)
    assert not outcome.failures, outcome.first_failures
    assert outcome.runs > 0
    assert outcome.rss_mb <= RSS_MB_MAX
