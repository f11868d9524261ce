"""TLS of both sides: 1.2 or newer, certificates checked, names too."""

from __future__ import annotations

import ssl
from pathlib import Path

from hilum.core.errors import ConfigError
from hilum.dicom.web import trusting
from hilum.serve.config import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """Ours, when others connect; with `ca` they must show a certificate of it.

    Raises:
        ConfigError: a file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, tls)
    if tls.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls | None = None, ca: Path | None = None) -> ssl.SSLContext:
    """Ours, when we connect: with a certificate of our own, or believing in `ca` only.

    Raises:
        ConfigError: see `server_context`.
    """
    context = trusting(ca or (tls.ca if tls else None))
    if tls is not None:
        _load(context, tls)
    return context


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.ca is not None:
            context.load_verify_locations(tls.ca)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(one) for one in (tls.certificate, tls.key, tls.ca) if one)
        words = error.strerror or "not PEM"
        raise ConfigError(f"TLS: {files}: {words}; needed: PEM files of one pair") from error
