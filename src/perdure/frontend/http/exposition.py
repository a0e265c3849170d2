"""What the engine and the transport count, in Prometheus's text format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from perdure.engine.node.metrics import Metrics
from perdure.frontend.lag import Stalls

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGES = {"cached", "cached_bytes", "nodes", "partitions", "waiting_calls"}
"""What goes up and down; everything else is a total since the start."""


def exposition(
    engine: Metrics,
    calls: Mapping[str, int],
    refusals: Mapping[tuple[str, str], int],
    stalls: Mapping[str, Stalls] | None = None,
) -> str:
    """All of it. `calls` by RPC; `refusals` by RPC and status code; `stalls` of the event loop by what held it."""
    return "\n".join((*_engine_lines(engine), *_rpc_lines(calls, refusals), *_lag_lines(stalls or {}))) + "\n"


def _engine_lines(metrics: Metrics) -> Iterator[str]:
    for field in fields(metrics):
        is_gauge = field.name in GAUGES
        name = f"perdure_{field.name}" + ("" if is_gauge else "_total")
        yield f"# TYPE {name} {'gauge' if is_gauge else 'counter'}"
        yield f"{name} {getattr(metrics, field.name)}"


def _rpc_lines(calls: Mapping[str, int], refusals: Mapping[tuple[str, str], int]) -> Iterator[str]:
    yield "# TYPE perdure_rpc_calls_total counter"
    for rpc, count in sorted(calls.items()):
        yield f'perdure_rpc_calls_total{{rpc="{rpc}"}} {count}'
    yield "# TYPE perdure_rpc_refusals_total counter"
    for (rpc, code), count in sorted(refusals.items()):
        yield f'perdure_rpc_refusals_total{{rpc="{rpc}",code="{code}"}} {count}'


def _lag_lines(stalls: Mapping[str, Stalls]) -> Iterator[str]:
    """How often, how long in all and how long at most the event loop stood still, beyond a tenth of a second."""
    for name, kind, field in (
        ("perdure_loop_lag_stalls_total", "counter", "count"),
        ("perdure_loop_lag_seconds_total", "counter", "seconds"),
        ("perdure_loop_lag_seconds_max", "gauge", "longest_s"),
    ):
        yield f"# TYPE {name} {kind}"
        for what, one in sorted(stalls.items()):
            yield f'{name}{{what="{_escaped(what)}"}} {getattr(one, field):g}'


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
