"""Calling a service, as any HTTP client would.

Two things can go wrong and they are different: the service says no (`Refused`: trying again is useless)
or nothing sensible comes back (`Unavailable`: it may or may not have acted; try again under the same key).
"""

from __future__ import annotations

import http.client
import os
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from perdure.demo.services.faults import Fault, Kind

PAYMENTS_URL = "PERDURE_DEMO_PAYMENTS_URL"
INVENTORY_URL = "PERDURE_DEMO_INVENTORY_URL"
SHIPPING_URL = "PERDURE_DEMO_SHIPPING_URL"
"""The environment variables that tell a process where the services are."""


class Unavailable(Exception):
    """No answer, or a 5xx: nobody knows whether the service acted."""


class Refused(Exception):
    """The service said no. `error` is its code for why, such as `card_declined`."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class ServiceClient:
    """Calls one service. Thread-safe: a connection per call."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self.url = url
        self._address = urlsplit(url).netloc
        self._timeout_s = timeout_s

    def post(self, path: str, payload: Any, key: str | None = None) -> dict[str, Any]:
        """Perform an action, once per `key` (with no key: once per call). Raises Refused, Unavailable."""
        headers = {"X-Caller": str(os.getpid())}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self._request("POST", path, msgspec.json.encode(payload), headers)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Look at a view. Raises Refused, Unavailable."""
        return self._request("GET", f"{path}?{urlencode(query)}" if query else path)

    def arm(
        self,
        kind: Kind,
        path: str = "",
        calls: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Tell the service to misbehave: see `Fault`."""
        self._request(
            "POST", "/admin/faults", msgspec.json.encode(Fault(kind, path, calls, probability, seed, seconds))
        )

    def heal(self) -> None:
        """Tell the service to behave again."""
        self._request("DELETE", "/admin/faults")

    def held(self) -> int:
        """How many calls the service keeps waiting right now."""
        return self.get("/admin/faults")["held"]

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._address, timeout=self._timeout_s)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            answer: dict[str, Any] = msgspec.json.decode(response.read())
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            raise Unavailable(f"no answer from {self.url}{path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if response.status >= 500:
            raise Unavailable(f"{self.url}{path} answered {response.status}: {answer.get('message')}")
        if response.status >= 400:
            raise Refused(str(answer.get("error")), str(answer.get("message")))
        return answer
