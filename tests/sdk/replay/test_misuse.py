"""What is asked in the wrong place is refused with the right one."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.sdk.errors import (
    DefinitionError,
    EngineError,
)
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import History, texts
from tests.sdk.replay.pieces import a, two_in_a_row


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: call(a),
        lambda: start(a),
        lambda: workflow.wait_condition(lambda: True),
        lambda: workflow.sleep(1),
        lambda: workflow.now(),
        lambda: workflow.random(),
        lambda: workflow.info(),
        lambda: workflow.side_effect(lambda: 1),
    ],
)
def test_outside_of_a_workflow_the_error_says_how_to_get_in(misuse: Any) -> None:
    with pytest.raises(EngineError, match=r"inside a running workflow.*engine\.run"):
        misuse()


def test_a_plain_function_is_no_activity() -> None:
    def plain() -> None: ...

    @workflow
    def calls_it() -> None:
        call(plain)  # pyright: ignore[reportArgumentType, reportCallIssue]

    outcome = History(calls_it).task().cold()
    assert isinstance(outcome.error, DefinitionError)
    assert "decorated with @activity" in str(outcome.error)


def test_a_workflow_called_in_a_workflow_is_a_part_of_it() -> None:
    @workflow
    def outer() -> list[Any]:
        return two_in_a_row(5)

    assert texts(History(outer).task().cold().commands) == ["schedule a(5) as 1"]
