"""Values to payloads and back: what history, and workers in other languages, can read."""

from perdure.sdk.convert.codec import PayloadCodec
from perdure.sdk.convert.converter import DEFAULT_LIMIT_BYTES, Converter
from perdure.sdk.convert.failures import failure_of
from perdure.sdk.convert.raw import RawValue
from perdure.sdk.convert.recorded import details_of, error_of

__all__ = ["DEFAULT_LIMIT_BYTES", "Converter", "PayloadCodec", "RawValue", "details_of", "error_of", "failure_of"]
