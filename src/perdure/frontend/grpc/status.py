"""A refusal on the wire: gRPC's code and message, and the detail that Temporal's clients look for.

The detail travels as `google.rpc.Status` in the trailer `grpc-status-details-bin`
(https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto).
"""

from __future__ import annotations

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from temporalio.api.errordetails.v1 import QueryFailedFailure

from perdure.api.errors import Rejected
from perdure.api.failures import shortened

DETAILS = "grpc-status-details-bin"
MESSAGE_CHARACTERS_MAX = 4000
"""A client reads at most 8 KiB of headers; the rest of a long message is of use to nobody."""

_DETAIL_BYTES_MAX = 4 << 10


def short_message(error: Rejected) -> str:
    """What the header `grpc-message` says."""
    message = error.outside
    return message if len(message) <= MESSAGE_CHARACTERS_MAX else message[:MESSAGE_CHARACTERS_MAX] + "..."


def status_details(error: Rejected, detail: Message) -> bytes:
    """The serialised `google.rpc.Status` of a refusal that has a detail."""
    if detail.ByteSize() > _DETAIL_BYTES_MAX:
        detail = _shorter(detail)
    status = Status(code=int(error.code), message=short_message(error))
    status.details.add().Pack(detail)
    return status.SerializeToString()


def _shorter(detail: Message) -> Message:
    """The kind of a detail is what clients look at; of a failed query also the beginning of what failed."""
    short = type(detail)()
    if isinstance(detail, QueryFailedFailure) and isinstance(short, QueryFailedFailure):
        short.failure.CopyFrom(shortened(detail.failure, _DETAIL_BYTES_MAX))
    return short
