"""No request, whatever is in it, is answered with a fault of the server, leaves a traceback, or harms anybody else.

`RPC_INPUTS=100000 make test ARGS=tests/badinput/test_every_rpc.py`, or `make attack`, asks as often.
"""

from __future__ import annotations

import os

import pytest

from tests.badinput.attack import attack

INPUTS = int(os.environ.get("RPC_INPUTS", "2000"))


@pytest.mark.parametrize(("on_sqlite", "seed"), [(True, 11), (False, 12)])
def test_no_request_is_a_fault_of_the_server(on_sqlite: bool, seed: int) -> None:
    report = attack(INPUTS // 2, seed, on_sqlite)

    assert not report.findings, "\n\n".join(report.findings)
    assert report.histories > 50, "the attack stored next to nothing"
    assert report.codes["OK"] > INPUTS // 8, f"hardly any request was well formed: {report.codes}"
    assert report.codes["INVALID_ARGUMENT"] > INPUTS // 8, f"hardly any request was not: {report.codes}"
