"""Run by ohif.sh inside a network namespace of its own; see there."""

from __future__ import annotations

import mimetypes
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from orthanc import HTTP, THRESHOLD, orthanc, stow, written
from playwright.sync_api import Page, sync_playwright
from pydicom import dcmread

import hilum
from hilum.data.phantom.phantom import phantom, write_dicom

PORT = 3000
ORIGIN = f"http://127.0.0.1:{PORT}"
TOLERANCE = 2  # px on the screen
GPU = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
CONFIG = """window.config = {routerBasename: '/', extensions: [], modes: [], showStudyList: true,
 customizationService: {}, maxNumberOfWebWorkers: 2, investigationalUseDialog: {option: 'never'},
 defaultDataSourceName: 'dicomweb', dataSources: [{
 namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb',
 configuration: {friendlyName: 'Orthanc', name: 'orthanc', qidoSupportsIncludeField: false,
 wadoUriRoot: 'ORIGIN/wado', qidoRoot: 'ORIGIN/dicom-web', wadoRoot: 'ORIGIN/dicom-web',
 imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
 supportsFuzzyMatching: false, supportsWildcard: true, omitQuotationForMultipartRequest: true,
 bulkDataURI: {enabled: true, relativeResolution: 'studies'}}}]};""".replace("ORIGIN", ORIGIN)
SHAPES = """() => {const layer = document.querySelector('svg.svg-layer');
 const place = layer.getBoundingClientRect();
 return {width: place.width, height: place.height,
 shapes: [...layer.querySelectorAll('rect, polyline')]
 .map(e => e.tagName === 'rect' ? ['x', 'y', 'width', 'height'].map(a => +e.getAttribute(a))
 : e.getAttribute('points'))};}"""


class Viewer(BaseHTTPRequestHandler):
    """OHIF's files and Orthanc's DICOMweb under one origin."""

    dist: Path
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.split("?")[0].lstrip("/")
        if path.startswith(("dicom-web", "wado")):
            return self._answer(*self._archive())
        if path == "app-config.js":
            return self._answer(200, "text/javascript", CONFIG.encode())
        file = self.dist / path
        if not path or not file.is_file():
            file = self.dist / "index.html"
        kind = "application/wasm" if file.suffix == ".wasm" else mimetypes.guess_type(file.name)[0]
        return self._answer(200, kind or "application/octet-stream", file.read_bytes())

    def _archive(self) -> tuple[int, str, bytes]:
        headers = {"Accept": self.headers.get("Accept", "*/*")}
        request = urllib.request.Request(HTTP + self.path, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                kind, body = answer.headers.get("Content-Type", ""), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, "text/plain", error.read()
        return 200, kind, body.replace(HTTP.encode(), ORIGIN.encode()) if "json" in kind else body

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(body)


def shown_boxes(page: Page, width: int, height: int) -> tuple[np.ndarray, float]:
    """(n, 4) boxes on the screen in pixels of the image that fits the viewport, and its scale."""
    layer = page.evaluate(SHAPES)
    scale = min(layer["width"] / width, layer["height"] / height)
    left = (layer["width"] - width * scale) / 2, (layer["height"] - height * scale) / 2
    boxes = []
    for shape in layer["shapes"]:
        if isinstance(shape, str):
            points = np.array(shape.replace(",", " ").split(), float).reshape(-1, 2)
            boxes.append([*points.min(0), *points.max(0)])
        else:
            x, y, w, h = shape
            boxes.append([x, y, x + w, y + h])
    return (np.array(boxes).reshape(-1, 4) - [*left, *left]) / scale, scale


def look(dist: Path, out: Path, source: Path) -> list[str]:
    """Problems; writes a screenshot a step."""
    run = hilum.predict(source, threshold=THRESHOLD)
    findings = run[0].findings
    assert findings is not None
    assert len(findings.labels), "the phantom shows nothing to look for"
    study = dcmread(source, stop_before_pixels=True).StudyInstanceUID
    objects, _ = written(source, THRESHOLD)
    for content in (source.read_bytes(), objects["sr"], objects["seg"]):
        assert stow(content)
    Viewer.dist = dist
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Viewer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    problems: list[str] = []
    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", *GPU]
        )
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.on("pageerror", lambda error: problems.append(f"page: {error}"))
        page.goto(f"{ORIGIN}/viewer?StudyInstanceUIDs={study}", timeout=120_000)
        page.get_by_text("hilum sr").first.wait_for(timeout=120_000)
        page.wait_for_timeout(10_000)
        for skip in page.get_by_text("Skip all", exact=True).all():
            skip.click()
        page.get_by_text("hilum sr").first.dblclick()
        page.locator("svg.svg-layer polyline").first.wait_for(timeout=60_000)
        page.screenshot(path=out / "ohif-sr.png")
        problems += compare("preview", page, findings)
        page.get_by_text("Yes", exact=True).first.click()
        page.locator("svg.svg-layer rect").first.wait_for(timeout=60_000)
        page.screenshot(path=out / "ohif-sr-tracked.png")
        problems += compare("hydrated", page, findings)
        page.get_by_text("hilum seg").first.dblclick()
        page.wait_for_timeout(10_000)
        page.screenshot(path=out / "ohif-seg.png")
        chromium.close()
    return problems


def compare(step: str, page: Page, findings: Any) -> list[str]:
    boxes, scale = shown_boxes(page, findings.width, findings.height)
    worst = []
    for box in findings.boxes_px:
        worst.append(float(np.abs(boxes - box).max(1).min()) if len(boxes) else float("inf"))
    print(f"{step}: {len(boxes)} boxes shown, worst edge {max(worst):.2f} px of the image")
    far = max(worst) * scale > TOLERANCE
    return [f"{step}: {boxes.round(1)} instead of {findings.boxes_px}"] if far else []


def main() -> int:
    dist, out = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else ".")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / "phantom.dcm"
        write_dicom(phantom(seed=1), source)
        with orthanc(folder):
            problems = look(dist, out, source)
    print("\n".join(problems) or "boxes lie where the result says")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
