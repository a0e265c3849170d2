"""A codec: what is stored is what it made, what programs see is what they wrote."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload

from perdure import ActivityError, ApplicationError, Engine, PayloadError, WorkflowFailedError, activity, call, workflow

SECRET = "the quick brown fox " * 100


class Zip:
    """Compresses payloads."""

    def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/zip"}, data=zlib.compress(p.SerializeToString())) for p in payloads
        ]

    def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(zlib.decompress(p.data)) if p.metadata["encoding"] == b"binary/zip" else p
            for p in payloads
        ]


@activity
def echo(text: str) -> str:
    if text == "":
        raise ApplicationError("empty", details=[SECRET], non_retryable=True)
    return text


@workflow
def echoing(text: str) -> str:
    return call(echo, text)


def test_nothing_is_stored_as_it_was_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    with Engine(url, codec=Zip()) as engine:
        assert engine.run(echoing, SECRET, id="a") == SECRET
        with pytest.raises(WorkflowFailedError) as raised:
            engine.run(echoing, "", id="b")
        assert isinstance(raised.value.cause, ActivityError)
        assert isinstance(raised.value.cause.cause, ApplicationError)
        assert raised.value.cause.cause.details == (SECRET,)
        history = b"".join(event.SerializeToString() for event in engine.get("a").history())
        assert b"quick brown fox" not in history
        assert len(history) < len(SECRET) * 2
    with Engine(url) as engine, pytest.raises(PayloadError, match=r"'binary/zip'.*codec that this process lacks"):
        engine.get("a").result()
