"""Another system's DICOMweb (PS3.18): the few questions we ask of it.

A failure is a `PeerFailed` whose text quotes no identifier, so that it may be logged and shown.
"""

from __future__ import annotations

import email.message
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from hilum.core.errors import ConfigError, HilumError, MissingExtraError
from hilum.core.options import Options

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError(
        "DICOMweb needs httpx: pip install 'hilum[serve]' or 'hilum[scale]'"
    ) from error

TIMEOUT_S = 30.0
_JSON = "application/dicom+json"
_MULTIPART = 'multipart/related; type="application/dicom"'
_RETRIEVED_BYTES = 512 * 2**20
_REFUSALS = (400, 404, 409, 410)
_DENIALS = (401, 403)
_AWAY = (502, 503, 504)  # a proxy without its server, or a server that is busy or going down


class PeerFailed(HilumError):
    """Another system does not answer, refuses, or does not do what it says."""


class PeerRefused(PeerFailed):
    """The other system understands, and says no: asking again would not help."""


class PeerAway(PeerFailed):
    """No connection, or a proxy says that there is nobody behind it."""


class PeerDenied(PeerFailed):
    """The other system does not know us, or does not let us: 401, 403."""


class WebPeer(Options):
    """Another DICOMweb server."""

    url: str = Field(pattern=r"^https?://")
    user: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    ca: Path | None = None


class WebArchive:
    """STOW-RS, QIDO-RS, WADO-RS and UPS-RS of one server."""

    def __init__(self, peer: WebPeer, transport: httpx.BaseTransport | None = None) -> None:
        self._peer, self._transport = peer, transport
        self._kept: httpx.Client | None = None

    def __enter__(self) -> Self:
        """Keep connections open between questions."""
        self._kept = self._connect()
        return self

    def __exit__(self, *error: object) -> None:
        if self._kept is not None:
            self._kept.close()
        self._kept = None

    def _connect(self) -> httpx.Client:
        peer = self._peer
        # Without TLS there is nothing to verify, and loading authorities takes long.
        verify = trusting(peer.ca) if peer.url.startswith("https:") else False
        options: dict[str, Any] = {"transport": self._transport} if self._transport else {}
        return httpx.Client(
            base_url=peer.url.rstrip("/"),
            auth=self._authorised,
            verify=verify,
            timeout=TIMEOUT_S,
            trust_env=False,
            **options,
        )

    def _authorised(self, request: httpx.Request) -> httpx.Request:
        """With what the files hold now: a token may have been renewed."""
        peer = self._peer
        if peer.user:
            basic = httpx.BasicAuth(peer.user, _secret(peer.password_file))
            return next(basic.auth_flow(request))
        if token := _secret(peer.token_file):
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        try:
            if self._kept is not None:
                yield self._kept
            else:
                with self._connect() as client:
                    yield client
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise _kind(status)(f"the server answers {status}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise PeerAway(f"the server is not reached ({_why(error)})") from None
        except ConfigError:  # which is a ValueError too
            raise
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PeerFailed(f"the server is not reached ({type(error).__name__})") from None
        except ValueError:
            raise PeerFailed("the server's answer is none of DICOMweb") from None

    def store(self, content: bytes, sop_instance_uid: str) -> None:
        """STOW-RS of one object. The answer's own list decides: some answer 200 and store nothing.

        Raises:
            PeerFailed: it is not reached, refuses it, or does not list it as stored.
        """
        boundary = f"hilum-{secrets.token_hex(8)}"
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = head + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"{_MULTIPART}; boundary={boundary}", "Accept": _JSON}
        with self._client() as client:
            answer = client.post("/studies", content=body, headers=headers)
            answer.raise_for_status()
            listed = answer.json()
            if isinstance(listed, list):
                listed = listed[0] if listed else {}
            stored = [text_of(item, "00081155") for item in items_of(listed, "00081199")]
        if sop_instance_uid not in stored:
            raise PeerFailed("the server answers success and does not list the object as stored")

    def has(self, study: str, sop_instance_uid: str) -> bool:
        """QIDO-RS: does the server say that it holds the object?

        Raises:
            PeerFailed: it is not reached or refuses.
        """
        rows = self.query(f"/studies/{study}/instances", {"SOPInstanceUID": sop_instance_uid})
        return any(text_of(one, "00080018") == sop_instance_uid for one in rows)

    def query(self, path: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
        """A QIDO-RS search; data sets in the DICOM JSON model.

        Raises:
            PeerFailed: it is not reached or refuses.
        """
        with self._client() as client:
            answer = client.get(path, params=parameters, headers={"Accept": _JSON})
            if answer.status_code in (204, 404):
                return []
            answer.raise_for_status()
            rows = answer.json()
            rows = [rows] if isinstance(rows, dict) else rows  # of a single resource
            return [one for one in rows if isinstance(one, dict)]

    def retrieve(self, path: str) -> list[bytes]:
        """WADO-RS: the objects under a path, as they are stored.

        Raises:
            PeerFailed: it is not reached, refuses, or answers more than the limit.
        """
        accept = {"Accept": f"{_MULTIPART}; transfer-syntax=*"}
        with self._client() as client, client.stream("GET", path, headers=accept) as answer:
            answer.raise_for_status()
            content = bytearray()
            for part in answer.iter_bytes():
                content += part
                if len(content) > _RETRIEVED_BYTES:
                    raise PeerFailed("the server answers more than the limit")
            return parts(bytes(content), answer.headers.get("Content-Type", ""))

    def send(self, method: str, path: str, body: Any) -> None:
        """A request with a body in the DICOM JSON model, such as of UPS-RS.

        Raises:
            PeerFailed: it is not reached or, as a `PeerRefused`, says no.
        """
        headers = {"Content-Type": _JSON, "Accept": _JSON}
        with self._client() as client:
            answer = client.request(method, path, json=body, headers=headers)
            answer.raise_for_status()


def parts(content: bytes, content_type: str) -> list[bytes]:
    """The bodies of a multipart/related answer.

    Raises:
        ValueError: it is none.
    """
    message = email.message.Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if not boundary:
        raise ValueError("no boundary")
    out = []
    for piece in content.split(b"--" + boundary.encode())[1:]:
        if piece.startswith(b"--"):
            break
        _, blank, body = piece.partition(b"\r\n\r\n")
        if not blank:
            raise ValueError("a part without a head")
        out.append(body.removesuffix(b"\r\n"))
    return out


def items_of(ds: Any, tag: str) -> list[dict[str, Any]]:
    """The items of a sequence in the DICOM JSON model."""
    value = ds.get(tag, {}).get("Value", []) if isinstance(ds, dict) else []
    return [item for item in value if isinstance(item, dict)]


def text_of(ds: dict[str, Any], tag: str) -> str | None:
    """The first value of an attribute in the DICOM JSON model."""
    values = texts_of(ds, tag)
    return values[0] if values else None


def texts_of(ds: dict[str, Any], tag: str) -> list[str]:
    """The values of an attribute in the DICOM JSON model."""
    value = ds.get(tag, {})
    values = value.get("Value", []) if isinstance(value, dict) else []
    return [*map(str, values)]


def _secret(path: Path | None) -> str:
    try:
        return path.read_text().strip() if path is not None else ""
    except OSError as error:
        raise PeerFailed(f"{path}: {error.strerror}; needed: a file with the secret") from error


def _why(error: BaseException) -> str:
    """What lies below a failed connection, where that is something to be mended on our side."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLError | ConnectionRefusedError | socket.gaierror):
            return tls_words(below)
        below = below.__cause__ or below.__context__
    return type(error).__name__


# X509_V_ERR_* of OpenSSL, and what helps.
_REMEDIES = {
    9: "needed: the right time on both sides",
    10: "needed: a renewed one there",
    62: "needed: the name or address it was made out to",
    64: "needed: the name or address it was made out to",
}
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and `ca` asks for one",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate of ours; needed: `tls` of it",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not believe our certificate; needed: our authority there",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has ended",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not take our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not take our certificate",
    "WRONG_VERSION_NUMBER": "it speaks no TLS",
    "HTTP_REQUEST": "it speaks no TLS",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS of 1.2 or newer",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no TLS of 1.2 or newer",
}


def tls_words(error: OSError) -> str:
    """Why a connection came to nothing, and what helps; names nobody."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = _REMEDIES.get(error.verify_code, "needed: its authority in `ca`")
        reason = error.verify_message.partition(", certificate is not valid")[0]  # quotes a name
        return f"its certificate is not believed: {reason.rstrip('.')}; {remedy}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "no TLS"
        return _REASONS.get(reason, reason.lower().replace("_", " "))
    if isinstance(error, socket.gaierror):
        return "its name is not known here"
    if isinstance(error, TimeoutError):
        return "it took too long"
    return error.strerror or type(error).__name__


def _kind(status: int) -> type[PeerFailed]:
    if status in _REFUSALS:
        return PeerRefused
    if status in _DENIALS:
        return PeerDenied
    return PeerAway if status in _AWAY else PeerFailed


def trusting(ca: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer to a server with a certificate of `ca`, else of the system's authorities.

    Raises:
        ConfigError: the file is missing or holds none.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigError(f"TLS: {ca}: {error.strerror or 'no certificates'}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 asks for key identifiers, which authorities of hospitals' own making often lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
