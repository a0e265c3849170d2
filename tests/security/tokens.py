"""Tokens for tests: signed by keys of a set, by others, and by nobody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
AUDIENCE = "perdure tests"


def key_set(**more: Any) -> dict[str, Any]:
    """The public keys, as a JSON Web Key Set; `more` by id."""
    keys: list[dict[str, Any]] = [
        {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rsa", "alg": "RS256", "use": "sig"},
        {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "ec", "alg": "ES256"},
    ]
    return {"keys": [*keys, *({**key, "kid": kid} for kid, key in more.items())]}


def save_keys(directory: Path, **more: Any) -> str:
    path = directory / "keys.json"
    path.write_text(json.dumps(key_set(**more)))
    return str(path)


def claims(*permissions: str, **more: Any) -> dict[str, Any]:
    """Of somebody with these permissions, for an hour."""
    said = {"sub": "ada", "permissions": list(permissions), "exp": time.time() + 3600, "aud": AUDIENCE, **more}
    return {name: value for name, value in said.items() if value is not None}


def token(*permissions: str, key: Any = RSA, kid: str | None = "rsa", algorithm: str = "RS256", **more: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(*permissions, **more), key, algorithm, headers)


def by_hand(algorithm: str, secret: bytes, *permissions: str) -> str:
    """A token that no library would make: `none`, or a secret that is the public key."""

    def packed(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = packed(json.dumps({"alg": algorithm, "kid": "rsa", "typ": "JWT"}).encode())
    body = packed(json.dumps(claims(*permissions)).encode())
    signed = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest() if secret else b""
    return f"{head}.{body}.{packed(signed)}"
