"""Certificates for tests: an authority, and what it signs."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM."""

    cert: bytes
    key: bytes

    def save(self, directory: Path, name: str) -> tuple[str, str]:
        """Write both; their paths."""
        cert, key = directory / f"{name}.crt", directory / f"{name}.key"
        cert.write_bytes(self.cert)
        key.write_bytes(self.key)
        return str(cert), str(key)


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "perdure tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._cert = self._signed(self._name, self._key, 3650, is_authority=True)
        self.cert = self._cert.public_bytes(serialization.Encoding.PEM)

    def save(self, directory: Path, name: str) -> str:
        path = directory / f"{name}.crt"
        path.write_bytes(self.cert)
        return str(path)

    def pair(self, name: str = "localhost", *hosts: str, days: float = 90, organization: str = "") -> Pair:
        """A certificate for these hosts, and 127.0.0.1, that is over in so many days."""
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organization:
            names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._signed(x509.Name(names), key, days, hosts or ("localhost",))
        return Pair(cert.public_bytes(serialization.Encoding.PEM), pem_of(key))

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days: float,
        hosts: tuple[str, ...] = (),
        *,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        ends = now + days * DAY
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, ends) - DAY)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if hosts:
            names = cast("list[x509.GeneralName]", [x509.DNSName(host) for host in hosts])
            names.append(x509.IPAddress(IPv4Address("127.0.0.1")))
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
