"""Work that is named by a text, and raw payloads, over gRPC: the same on Temporal's server as on ours."""

from __future__ import annotations

import uuid
from typing import Any

from temporalio.api.common.v1 import Payload

from perdure import Engine, RawValue, activity, call, start, workflow

ODD = RawValue(Payload(metadata={"encoding": b"application/x-odd"}, data=b"\x00\xff"))


@activity(name="far-echo")
def echoes(value: RawValue) -> RawValue:
    return value


ECHO = activity.named("far-echo", returns=RawValue, start_to_close_timeout="30s")


@workflow(name="far-passes")
def passes_on(value: RawValue) -> RawValue:
    return call(ECHO, value)


@workflow(name="far-passes-async")
async def passes_on_async(value: RawValue) -> RawValue:
    return await start(ECHO, value)


@workflow(name="far-becomes")
def becomes_another(value: RawValue) -> None:
    workflow.continue_as_new(value, workflow="far-passes-async")


def test_a_raw_value_goes_through_work_that_is_known_by_its_name(url: str) -> None:
    with Engine(url, task_queue=f"named-{uuid.uuid4()}") as engine:
        for name in ("far-passes", "far-passes-async", "far-becomes"):
            handle: Any = engine.start(workflow.named(name, returns=RawValue), ODD, id=f"{name}-{uuid.uuid4()}")
            assert handle.result() == ODD
