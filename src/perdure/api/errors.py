"""The one error that crosses layers: a request was refused, with a gRPC status code and detail.

Core raises it when the law forbids a command, the frontend when a request is malformed, the gRPC
server turns it into a status, the client turns a status back into it. The numbers are gRPC's
(https://grpc.io/docs/guides/status-codes/), so no table stands between them.
"""

from __future__ import annotations

from enum import IntEnum

from google.protobuf.message import Message


class StatusCode(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Rejected(Exception):
    """A command or request that was refused; nothing was changed by it.

    Attributes:
        code: the gRPC status code.
        message: one sentence that names the fix.
        detail: the `temporal.api.errordetails.v1` message that clients expect, or None.
        outside: what a client in another process is told instead of the message, if that says what only whoever runs
            the engine should know: where its store lies, what was wrong with it.
    """

    def __init__(self, code: StatusCode, message: str, detail: Message | None = None, *, outside: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail
        self.outside = outside or message

    def copy(self) -> Rejected:
        """The same for somebody else: an exception that two raise would have both their tracebacks."""
        return Rejected(self.code, self.message, self.detail, outside=self.outside)
