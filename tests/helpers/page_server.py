"""The page's REST calls answered from memory by the real pipeline: a stand-in of the service.

For tests of the page and for work on it: `PYTHONPATH=tests python -m helpers.page_server 8080`.
Keeps nothing on disk, believes the user's name in a cookie.
"""

from __future__ import annotations

import hashlib
import io
import json
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.parser import BytesParser
from email.policy import HTTP
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import pydicom
from PIL import Image as Picture

from hilum import load_pipeline
from hilum.core.errors import InputRefused
from hilum.core.outlines import svg_path
from hilum.core.results import RunResult
from hilum.dicom.stored import open_stored
from hilum.inference.loaded import LoadedPipeline

STATIC = Path(__file__).parents[2] / "src/hilum/serve/static"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
IMAGES: dict[str, dict[str, Any]] = {}
LISTENERS: list[queue.Queue[dict[str, Any]]] = []
WORK: queue.Queue[str | None] = queue.Queue()


@cache
def pipeline() -> LoadedPipeline:
    return load_pipeline(threads=1)


def receive(name: str, data: bytes) -> dict[str, Any]:
    id = hashlib.sha256(data).hexdigest()[:32]
    if id in IMAGES:
        return {"id": id, "state": IMAGES[id]["state"], "name": name, "duplicate": True}
    IMAGES[id] = {
        "id": id,
        "study": None,
        "name": name,
        "state": "received",
        "reason": None,
        "received": time.time(),
        "analysed": None,
        "origin": "upload",
        "modality": None,
        "view": None,
        "priority": "routine",
        "score": None,
        "finding": None,
        "patient": None,
        "study_date": None,
        "pipeline": None,
        "deliveries": [],
        "feedback": [],
        "prior": None,
        "size": None,
        "spacing": None,
        "inverted": False,
        "results": {},
        "history": [{"at": time.time(), "what": "received"}],
        "_data": data,
    }
    WORK.put(id)
    return {"id": id, "state": "received", "name": name, "duplicate": False}


def tell(image: dict[str, Any], state: str, what: str) -> None:
    image["state"] = state
    image["history"].append({"at": time.time(), "what": what})
    for one in list(LISTENERS):
        one.put({"id": image["id"], "state": state, "score": image["score"]})


class Held:
    def __init__(self, image: dict[str, Any]) -> None:
        self.name, self.load = image["id"], lambda: image["_data"]


def work() -> None:
    while (id := WORK.get()) is not None:
        image = IMAGES[id]
        try:
            analyse(image)
        except InputRefused as error:
            image["reason"] = f"{error.code}: {error}"
            tell(image, "refused", "refused")
        except Exception as error:  # noqa: BLE001 - shown on the page
            image["reason"] = f"internal: {type(error).__name__} {error}."
            tell(image, "failed", "failed")


def analyse(image: dict[str, Any]) -> None:
    stored = open_stored((image["name"], image["_data"]))
    radiograph = stored.radiograph()
    image |= {
        "modality": stored.modality,
        "view": stored.view,
        "inverted": stored.header.code("PhotometricInterpretation") == "MONOCHROME1",
        "_pixels": radiograph.pixels,
        "patient": {"id": stored.ids.patient_id, "name": stored.header.text("PatientName")},
        "study_date": stored.header.text("StudyDate"),
    }
    image["prior"] = next(
        (
            o["id"]
            for o in IMAGES.values()
            if o is not image
            and o["patient"]
            and o["patient"]["id"]
            and o["patient"]["id"] == image["patient"]["id"]
        ),
        None,
    )
    tell(image, "checked", "checked; pipelines: default")
    result = pipeline().analyse(Held(image))
    if result.status != "analysed" or result.findings is None:
        image["reason"] = result.reason
        return tell(image, result.status, result.status)
    outlines = {name: svg_path(mask) for name, mask in result.findings.masks.items()}
    result = replace(result, outlines=outlines, files={"sr": "sr.dcm", "seg": "seg.dcm"}).light()
    run = RunResult(pipeline().info, (result,), pipeline().combine((result,))).to_json()
    image["results"]["default"] = run
    image |= {
        "size": [radiograph.height, radiograph.width],
        "spacing": list(radiograph.spacing_mm) if radiograph.spacing_mm else None,
        "pipeline": "default",
        "analysed": time.time(),
        "finding": bool(result.findings.labels),
        "score": result.findings.image_scores["opacity"],
    }
    tell(image, "analysed", "analysed")


def summary(image: dict[str, Any]) -> dict[str, Any]:
    keep = {
        k: v
        for k, v in image.items()
        if not k.startswith("_") and k not in ("results", "history", "size", "spacing", "inverted")
    }
    return keep | {
        "feedback": len(image["feedback"]),
        "deliveries": {"waiting": 0, "delivered": 0, "dead": 0},
    }


def points() -> list[dict[str, Any]]:
    bundle = next(iter(pipeline().bundles.values()))
    out = []
    for name, p in bundle.manifest.operating_points.items():
        fp = p.achieved.get("fp_per_image")
        out.append(
            {
                "name": name,
                "threshold": p.threshold,
                "aim": p.reason,
                "score": p.score,
                "chosen_on": p.chosen_on,
                "sensitivity": p.achieved.get("sensitivity"),
                "false_marks_per_100": None if fp is None else 100 * fp,
            }
        )
    return [p for p in out if p["score"] == "box"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, body: bytes, kind: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": CSP,
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, value: Any, status: int = 200) -> None:
        self.reply(json.dumps(value).encode(), "application/json", status)

    def problem(self, status: int, title: str, detail: str = "") -> None:
        self.reply(
            json.dumps({"title": title, "detail": detail}).encode(),
            "application/problem+json",
            status,
        )

    @property
    def user(self) -> str:
        return (self.headers.get("Cookie") or "user=local").split("user=")[-1]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, query = url.path, {k: v[0] for k, v in parse_qs(url.query).items()}
        if not path.startswith("/api/v1"):
            file = STATIC / (path.lstrip("/") or "index.html")
            return (
                self.reply(file.read_bytes(), TYPES.get(file.suffix, "text/plain"))
                if file.is_file()
                else self.problem(404, "Not found")
            )
        parts = path.split("/")[3:]
        if parts == ["status"]:
            return self.json(
                {
                    "version": "dev",
                    "notice": "",
                    "disk": {"used": 1, "limit": 100},
                    "user": {"name": self.user, "role": "admin"},
                    "pipelines": [
                        {
                            "name": "default",
                            "default": True,
                            "outputs": ["boxes", "masks", "heatmap"],
                            "operating_points": points(),
                        },
                        {
                            "name": "siim-covid",
                            "default": False,
                            "outputs": ["boxes"],
                            "operating_points": [],
                        },
                    ],
                }
            )
        if parts == ["events"]:
            return self.events()
        if parts == ["images"]:
            items = [
                summary(i)
                for i in IMAGES.values()
                if query.get("state", i["state"]) == i["state"]
                and query.get("priority", i["priority"]) == i["priority"]
                and query.get("q", "").lower() in json.dumps([i["name"], i["patient"]]).lower()
            ]
            key = {
                "score": lambda i: i["score"] or -1,
                "priority": lambda i: ["routine", "high", "stat"].index(i["priority"]),
            }.get(query.get("sort", ""), lambda i: i["received"])
            return self.json(
                {
                    "items": sorted(items, key=key, reverse=True),
                    "total": len(items),
                    "page": 1,
                    "per_page": 50,
                }
            )
        image = IMAGES.get(parts[1]) if parts[0] == "images" else None
        if image is None:
            return self.problem(
                404, "No such image", "It is not held here. Go back to the worklist."
            )
        rest = parts[2:]
        if not rest:
            return self.json({k: v for k, v in image.items() if not k.startswith("_")})
        if rest == ["feedback"]:
            return self.json(image["feedback"])
        if rest[0] == "files":
            return self.json(image["results"]["default"])
        if "_pixels" not in image:
            return self.problem(409, "No pixels", "The image could not be read.")
        pixels = image["_pixels"]
        if rest == ["pixels"]:
            return self.reply(
                np.rint(pixels * 65535).astype("<u2").tobytes(),
                "application/octet-stream",
                X_Rows=str(pixels.shape[0]),
                X_Columns=str(pixels.shape[1]),
            )
        if rest == ["heatmap"]:
            h, w = pixels.shape
            heat = np.zeros((64, 64), np.float32)
            for found in image["results"]["default"]["images"][0]["findings"]:
                x1, y1, x2, y2 = found["box_px"]
                cv2.ellipse(
                    heat,
                    (int(32 * (x1 + x2) / w), int(32 * (y1 + y2) / h)),
                    (int(24 * (x2 - x1) / w), int(24 * (y2 - y1) / h)),
                    0,
                    0,
                    360,
                    found["score"],
                    -1,
                )
            return self.png(
                (cv2.GaussianBlur(heat, (0, 0), 4) * 255).astype(np.uint8), "PNG", "image/png"
            )
        side = int(query.get("width", 512))
        low, high = np.percentile(pixels, (0.5, 99.5))
        small = cv2.resize(
            pixels,
            (side, round(side * pixels.shape[0] / pixels.shape[1])),
            interpolation=cv2.INTER_AREA,
        )
        return self.png(
            (np.clip((small - low) / (high - low + 1e-6), 0, 1) * 255).astype(np.uint8),
            "JPEG",
            "image/jpeg",
        )

    def png(self, array: np.ndarray, form: str, kind: str) -> None:
        out = io.BytesIO()
        Picture.fromarray(array).save(out, form)
        self.reply(out.getvalue(), kind)

    def events(self) -> None:
        own: queue.Queue[dict[str, Any]] = queue.Queue()
        LISTENERS.append(own)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self.wfile.write(b": hello\n\n")
            while True:
                try:
                    self.wfile.write(
                        f"event: image\ndata: {json.dumps(own.get(timeout=2))}\n\n".encode()
                    )
                except queue.Empty:
                    self.wfile.write(b": still here\n\n")
        except OSError:
            LISTENERS.remove(own)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self.path.split("/")[3:]
        if parts == ["sample"]:
            name = Path(pydicom.data.get_testdata_file("RG1_UNCR.dcm"))
            return self.json(
                {"images": [receive(name.name, name.read_bytes())], "refused": []}, 202
            )
        if parts == ["images"]:
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            images, refused = [], []
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
                if part.get_filename():
                    data = part.get_payload(decode=True)
                    if data[:4] in (b"%PDF", b"text"):
                        refused.append(
                            {
                                "name": part.get_filename(),
                                "problem": "unsupported: it is neither DICOM nor a picture.",
                            }
                        )
                    else:
                        images.append(receive(part.get_filename(), data))
            return self.json({"images": images, "refused": refused}, 202)
        image = IMAGES[parts[1]]
        if parts[2] == "feedback":
            entry = json.loads(body) | {"by": self.user, "at": time.time()}
            image["feedback"].append(entry)
            tell(image, image["state"], f"feedback by {self.user}")
            return self.json(entry, 201)
        if parts[2] == "retry":
            image["state"], image["reason"] = "received", None
            WORK.put(image["id"])
        return self.json({}, 202)

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        IMAGES[self.path.split("/")[4]] |= body
        self.json({})


@contextmanager
def serving(port: int = 0) -> Iterator[str]:
    """The address of an empty service on loopback."""
    IMAGES.clear()
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads, server.block_on_close = True, False
    threads = [threading.Thread(target=one, daemon=True) for one in (work, server.serve_forever)]
    for thread in threads:
        thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        WORK.put(None)
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    with serving(int(sys.argv[1]) if len(sys.argv) > 1 else 8080) as address:
        print(address)
        threading.Event().wait()
