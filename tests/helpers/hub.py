"""A local server that answers as Kaggle's API and its storage do, and can be told to misbehave.

API: POST /api/v1/<service>/<request> with a bearer token; downloads are redirected to a signed
address. Storage (another host name): GET with ranges, `x-goog-hash`, no token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "KGAT_canary-token-5417"  # noqa: S105  made up
SIGNATURE = "canary-signature-9923"


class Hub(ThreadingHTTPServer):
    """State of the server; tests read `requests` and set the troubles."""

    daemon_threads = True

    def __init__(self, archive: bytes, unpacked: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive, self.unpacked = archive, unpacked
        self.break_at: list[int] = []  # the connection breaks at each of these bytes
        self.corrupt = 0  # so many answers of the storage bring a wrong byte
        self.hashed = True
        self.status = 200
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.downloads = 0  # answers of the storage

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that want a header only hang up; that is no trouble."""

    def ranges(self) -> list[str]:
        return [h["Range"] for _, path, h in self.requests if "/storage/" in path and "Range" in h]


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._note()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"code": 401, "message": f"bad {TOKEN}"}, 401)
        if self.server.status != 200:
            status = self.server.status
            return self._json({"code": status, "message": f"see ?sig={SIGNATURE}"}, status)
        request = self.path.rsplit("/", 1)[1]
        if request.startswith("Download"):
            port = self.server.server_address[1]
            self.send_response(302)
            place = f"http://localhost:{port}/storage/archive.zip?X-Goog-Signature={SIGNATURE}"
            self.send_header("Location", place)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if request.endswith("FilesSummary"):
            kind = {"extension": ".dcm", "fileCount": 2, "totalSize": self.server.unpacked}
            return self._json({"fileSummaryInfo": {"totalFileCount": 2, "fileTypes": [kind]}})
        return self._json({"id": 1, "ref": "a/b", "currentVersionNumber": 3})

    def do_GET(self) -> None:
        self._note()
        if "Authorization" in self.headers or SIGNATURE not in self.path:
            return self._json({"code": 400, "message": "storage takes signatures only"}, 400)
        hub = self.server
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        body = bytearray(hub.archive[start:])
        hub.downloads += 1
        if hub.corrupt:
            hub.corrupt -= 1
            body[len(body) // 2] ^= 255
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if hub.hashed:
            digest = base64.b64encode(hashlib.md5(hub.archive).digest()).decode()  # noqa: S324
            self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={digest}")
        self.end_headers()
        limit = next((at for at in hub.break_at if at > start), None)
        if limit is not None:
            body = body[: limit - start]
            self.close_connection = True
        with suppress(ConnectionError):  # who wants the header only hangs up
            self.wfile.write(body)
        return None

    def _note(self) -> None:
        self.server.requests.append((self.command, self.path, dict(self.headers)))

    def _json(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running(archive: bytes, unpacked: int) -> Iterator[Hub]:
    """A hub on a free port, until the block ends."""
    hub = Hub(archive, unpacked)
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
