"""TLS of both sides: 1.2 or newer, certificates checked, names too; renewed files count at once."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from hilum.core.errors import ConfigError
from hilum.dicom.web import trusting
from hilum.serve.config import Tls

log = logging.getLogger(__name__)
SOON = timedelta(days=14)  # before its end a certificate is spoken of


def server_context(tls: Tls) -> ssl.SSLContext:
    """Ours, when others connect; with `ca` they must show a certificate of it. Files that have
    been replaced count from the next handshake on; one that cannot be used is said, and the
    former goes on.

    Raises:
        ConfigError: a file is missing or is not what it should be.
    """
    return _Renewed(tls).context


def client_context(tls: Tls | None = None, ca: Path | None = None) -> ssl.SSLContext:
    """Ours, when we connect: with a certificate of our own, or believing in `ca` only.

    Raises:
        ConfigError: see `server_context`.
    """
    context = trusting(ca or (tls.ca if tls else None))
    if tls is not None:
        _load(context, tls)
    return context


def remarks(tls: Tls, now: datetime | None = None) -> Iterator[str]:
    """What is wrong with the dates of our certificate and of the authorities.

    Raises:
        ConfigError: a file is missing or is not what it should be.
    """
    now = now or datetime.now(UTC)
    for path in filter(None, (tls.certificate, tls.ca)):
        try:
            certificates = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"TLS: {path}: no certificate; needed: a PEM file") from error
        for one in certificates:
            begin, end = one.not_valid_before_utc, one.not_valid_after_utc
            if end <= now:
                yield f"TLS: {path}: it ended on {end:%Y-%m-%d %H:%M} UTC; needed: a renewed one"
            elif begin > now:
                yield f"TLS: {path}: it begins on {begin:%Y-%m-%d %H:%M} UTC; is the clock right?"
            elif end - now < SOON:
                yield f"TLS: {path}: it ends on {end:%Y-%m-%d %H:%M} UTC; needed: a renewed one"


class _Renewed:
    """Gives each handshake the certificate and the authorities that the files hold now."""

    def __init__(self, tls: Tls) -> None:
        self._tls, self._mark = tls, _mark(tls)
        self.context = self._newest = _server(tls)
        self.context.sni_callback = self._handshake

    def _handshake(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Called at each, whether or not the client names a server."""
        mark = _mark(self._tls)
        if mark != self._mark:
            self._mark = mark
            try:
                self._newest = _server(self._tls)
                log.info("renewed TLS files are in use")
            except ConfigError as error:
                log.error("renewed TLS files are not used, the former go on: %s", error)
        connection.context = self._newest


def _mark(tls: Tls) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_mark_of(path) for path in (tls.certificate, tls.key, tls.ca) if path)


def _mark_of(path: Path) -> tuple[int, int, int] | None:
    try:
        known = path.stat()
    except OSError:
        return None
    return known.st_mtime_ns, known.st_ino, known.st_size


def _server(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, tls)
    if tls.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
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
