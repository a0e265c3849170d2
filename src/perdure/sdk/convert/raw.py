"""A value that is a payload already."""

from __future__ import annotations

from temporalio.api.common.v1 import Payload

from perdure.sdk.texts import repr_of


class RawValue:
    """A payload as it is: given, it is sent without being encoded; asked for, it is handed over without being decoded.

    For whoever passes on what others wrote and never looks inside: a model's steps, a router, a gateway. An argument, a
    result, a signal's or an update's value may be one; a parameter or a result annotated with it (`returns=RawValue`)
    gets one. Only as a whole value, not within a list or a mapping.

    The codec works on it as on every payload, so `payload` is never encrypted here, and never plain in history.

    Attributes:
        payload: the wire's message. Not to be changed.
    """

    __slots__ = ("payload",)

    def __init__(self, payload: Payload) -> None:
        if not isinstance(payload, Payload):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"RawValue takes a temporalio Payload, not {type(payload).__name__}")
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawValue) and self.payload == other.payload

    __hash__ = None  # pyright: ignore[reportAssignmentType] - a message can change, and so has no hash

    def __reduce__(self) -> tuple[type[RawValue], tuple[Payload]]:
        return RawValue, (self.payload,)

    def __repr__(self) -> str:
        encoding = self.payload.metadata.get("encoding", b"").decode(errors="replace")
        return f"<RawValue {encoding} {repr_of(self.payload.data, 60)}>"
