"""SIGKILL of the server under the official SDK's worker; `benchmarks.server_kills` does it twenty times."""

from __future__ import annotations

import asyncio

from benchmarks.server_kills import campaign


def test_every_workflow_that_was_seen_to_start_survives_the_server() -> None:
    findings = asyncio.run(campaign(kills=2, lanes=4, seed=3, between_s=(0.5, 1.0)))
    assert findings.kills == 2
    assert findings.started
    assert findings.wrong == []
