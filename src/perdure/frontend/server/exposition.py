"""What the engine and the transport count, in Prometheus's text format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from perdure.engine.metrics import Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGES = {"cached", "cached_bytes", "waiting_calls"}
"""What goes up and down; everything else is a total since the start."""


def exposition(engine: Metrics, calls: Mapping[str, int], refusals: Mapping[tuple[str, str], int]) -> str:
    """All of it. `calls` by RPC; `refusals` by RPC and status code."""
    return "\n".join((*_engine_lines(engine), *_rpc_lines(calls, refusals))) + "\n"


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
