"""Values to payloads and back: what history, and workers in other languages, can read."""

from perdure.sdk.convert.codec import PayloadCodec
from perdure.sdk.convert.converter import DEFAULT_LIMIT_BYTES, Converter
from perdure.sdk.convert.failures import error_of, failure_of

__all__ = ["DEFAULT_LIMIT_BYTES", "Converter", "PayloadCodec", "error_of", "failure_of"]
