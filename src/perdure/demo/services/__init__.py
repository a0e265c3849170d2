"""The outside world of the demo: HTTP services on loopback, each a process with its own durable ledger.

    python -m perdure.demo.services.payment_gateway --port 0 --ledger payments.db

They behave as such services do: an `Idempotency-Key` makes a repeated call safe, a call without one is
a new call, and each can be told over HTTP to be slow, to be down, to die or to hang up after it acted.
"""

DECLINED = "tok_declined"
"""How the token of a card begins that the gateway declines."""
