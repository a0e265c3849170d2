"""Do once per key, return the first answer: for the side of a service. See `keys.py` for how."""

from perdure.idempotency.keys import (
    IdempotencyKeys,
    KeyConnection,
    KeyReusedError,
    TransactionNeededError,
    fingerprint_of,
)

__all__ = ["IdempotencyKeys", "KeyConnection", "KeyReusedError", "TransactionNeededError", "fingerprint_of"]
