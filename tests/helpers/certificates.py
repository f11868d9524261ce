"""Certificates of a test's own authority."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Pair:
    """Where a certificate and its key lie, and both."""

    certificate: Path
    key: Path
    values: tuple[Any, Any]


def authority(folder: Path) -> Pair:
    return _made(folder, "test authority", None)


def certificate(
    ca: Pair, folder: Path, name: str, days: tuple[float, float] = (-0.05, 100)
) -> Pair:
    """For an address or a host name; good from and until so many days from now."""
    return _made(folder, name, ca, days)


def _made(folder: Path, name: str, ca: Pair | None, days: tuple[float, float] = (-99, 100)) -> Pair:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = (ca.values[0].subject, ca.values[1]) if ca else (subject, key)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
    )
    if ca is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name)]), critical=False)
    made = builder.sign(signer, hashes.SHA256())
    pair = Pair(folder / "certificate.pem", folder / "key.pem", (made, key))
    pair.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pair


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
