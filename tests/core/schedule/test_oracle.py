"""What a specification means is what Temporal's server says that it means: faults, canonical form, and every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import ScheduleSpec

from perdure.core.schedule.fields import BadSpec
from perdure.core.schedule.spec import Occurrence, Times, Unfinished, canonical
from perdure.engine.node.zones import find_zone
from tests.core.schedule.record_oracle import TIMES_MAX

RECORDED = json.loads(Path(__file__).with_name("oracle.json").read_text())
ASKED = [pytest.param(asked, id=json.dumps(asked["spec"])[:80]) for asked in RECORDED["asked"]]

FAR_NS = 100 * 86_400 * 1_000_000_000
"""Where nothing comes for so long the search may end without an answer."""


@pytest.mark.parametrize("asked", ASKED)
def test_a_specification_means_what_it_means_there(asked: dict[str, Any]) -> None:
    spec = ParseDict(asked["spec"], ScheduleSpec())
    if "error" in asked:
        with pytest.raises(BadSpec) as fault:
            canonical(spec, find_zone)
        assert f"Invalid schedule spec: {fault.value}" == asked["error"]
        return
    made = canonical(spec, find_zone)
    assert MessageToDict(made) == asked["canonical"]
    seed = f"{RECORDED['namespace_id']}-{asked['schedule_id']}".encode()
    times = Times(made, find_zone, seed)
    for window in asked["windows"]:
        if window["times"] is None:
            continue  # that server gives up before this one does
        assert listed(times, window["start"], window["end"]) == window["times"]


def listed(times: Times, start: str, end: str) -> list[str]:
    at_ns, end_ns = ns(start), ns(end)
    found: list[str] = []
    while len(found) < TIMES_MAX:
        following = next_or_far(times, at_ns)
        if following is None or following.at_ns > end_ns:
            break
        at_ns = following.at_ns
        at = Timestamp()
        at.FromNanoseconds(at_ns)
        found.append(at.ToJsonString())
    return found


def next_or_far(times: Times, at_ns: int) -> Occurrence | None:
    try:
        return times.next(at_ns)
    except Unfinished as search:
        if search.after_ns > at_ns + FAR_NS:
            return None
        raise


def ns(text: str) -> int:
    at = Timestamp()
    at.FromJsonString(text)
    return at.ToNanoseconds()


def test_there_is_enough_to_compare() -> None:
    assert len(ASKED) > 400
    assert sum(len(window["times"] or ()) for asked in RECORDED["asked"] for window in asked.get("windows", ())) > 7_500
