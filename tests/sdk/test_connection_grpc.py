"""The transport's own work: URLs, and statuses that become refusals."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status
from temporalio.api.errordetails.v1 import NotFoundFailure
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

from perdure import AsyncEngine, Engine, EngineError, StoreError, WorkerConfig
from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.connection.grpc import GrpcConnection, detail_of, parse_target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("grpc://127.0.0.1:7233", ("127.0.0.1:7233", False)),
        ("grpc://temporal.internal", ("temporal.internal:7233", False)),
        ("grpcs://[::1]:443", ("[::1]:443", True)),
    ],
)
def test_a_url_names_host_port_and_tls(url: str, target: tuple[str, bool]) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize("url", ["grpc://", "grpc://host:port", "grpc://host/default", "http://host:1", "grpc://a@b"])
def test_another_url_is_refused_saying_what_would_be_right(url: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        parse_target(url)


def test_an_engine_refuses_such_a_url_as_it_does_a_stores() -> None:
    with pytest.raises(StoreError, match="not understood"):
        Engine("grpc://host/default")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:1\b"), Engine("grpc://127.0.0.1:1"):
        pass


async def test_a_connection_that_is_not_open_says_so() -> None:
    with pytest.raises(Rejected, match="not open") as refused:
        await GrpcConnection("grpc://127.0.0.1:1").rpcs.get_system_info(GetSystemInfoRequest())
    assert refused.value.code == StatusCode.UNAVAILABLE


def test_the_first_known_detail_of_a_status_is_found() -> None:
    known, strange = AnyMessage(), AnyMessage(type_url="type.googleapis.com/nobody.knows.This", value=b"\x08\x01")
    known.Pack(NotFoundFailure(current_cluster="here"))
    packed = Status(code=5, message="gone", details=[strange, known]).SerializeToString()
    assert detail_of([("other", "x"), ("grpc-status-details-bin", packed)]) == NotFoundFailure(current_cluster="here")
    assert detail_of([("grpc-status-details-bin", b"\xff\xff")]) is None
    assert detail_of([]) is None


@pytest.mark.parametrize(("url", "near"), [("memory://", True), ("grpc://127.0.0.1:1", False)])
def test_a_worker_far_from_its_server_is_set_up_for_that(url: str, near: bool) -> None:
    [worker] = AsyncEngine(url)._workers._workers
    assert worker._footing.fails_repeatedly is near
    assert (worker._config.workflow_polls > WorkerConfig().workflow_polls) is near
