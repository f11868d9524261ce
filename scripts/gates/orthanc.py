"""Run by orthanc.sh inside a network namespace of its own; see there."""

from __future__ import annotations

import email
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread

import hilum
from hilum.core.errors import NotWritten
from hilum.data.phantom.phantom import phantom, write_dicom
from hilum.dicom.analysed import Analysed
from hilum.dicom.stored import open_stored
from hilum.report.writers.dicom import KINDS, dicom_objects, to_bytes

HTTP, DICOM = "http://127.0.0.1:8042", "4242"
THRESHOLD = 0.05  # low, so that there are boxes to look for
PHANTOMS = {
    "phantom-mono2": {"seed": 1},
    "phantom-mono1": {"seed": 2, "photometric": "MONOCHROME1", "bits": 14},
    "phantom-wide": {"seed": 3, "width": 700, "height": 500, "syntax": "jpeg-2000"},
    "phantom-dx": {"seed": 4, "sop_class": "DX", "syntax": "jpeg-baseline", "bits": 8},
    "phantom-healthy": {"seed": 5, "opacities": 0},
}


def sources(folder: Path, more: list[str]) -> dict[str, Path]:
    out = {}
    for name, options in PHANTOMS.items():
        drawn = {k: options[k] for k in ("seed", "width", "height", "opacities") if k in options}
        rest = {k: v for k, v in options.items() if k not in drawn}
        out[name] = folder / f"{name}.dcm"
        write_dicom(phantom(**drawn), out[name], **rest)
    import data_store

    samples = Path(data_store.__file__).parent / "data"
    out |= {name: samples / f"{name}.dcm" for name in ("RG1_UNCI", "RG1_J2KR", "RG3_UNCR")}
    return out | {Path(path).stem: Path(path) for path in more}


def written(path: Path, threshold: float) -> tuple[dict[str, bytes], list[str]]:
    """Files by kind, and why others were not written."""
    stored = open_stored(path)
    run = hilum.predict(path, threshold=threshold)
    image = Analysed(
        stored=stored, radiograph=stored.radiograph(), result=run[0], pipeline=run.pipeline
    )
    objects, refused = {}, []
    for kind in KINDS:
        try:
            result = dicom_objects(image, [kind])
            objects[kind] = to_bytes(result[kind])
        except NotWritten as error:
            refused.append(f"{kind}: {error}")
    return objects, refused


def errors_of(path: Path) -> list[str]:
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line.startswith(("Error", "Abort"))]


@contextmanager
def orthanc(folder: Path, more: dict[str, Any] | None = None) -> Iterator[None]:
    settings: dict[str, Any] = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": 8042,
        "DicomPort": int(DICOM),
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **(more or {}),
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = (folder / "orthanc.log").open("w")
    server = subprocess.Popen(
        [shutil.which("Orthanc") or "/usr/sbin/Orthanc", str(folder / "orthanc.json")],
        stdout=log,
        stderr=log,
    )
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", 8042)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def http(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[str, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(HTTP + path, body, named, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return answer.headers.get("Content-Type", ""), answer.read()


def stow(content: bytes) -> bool:
    """Stored? Some archives answer 200 and store nothing, so the answer itself is read."""
    head = b"--cut\r\nContent-Type: application/dicom\r\n\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=cut'
    accept = "application/dicom+json"
    body = head + content + b"\r\n--cut--"
    _, answer = http("POST", "/dicom-web/studies", body, Content_Type=kind, Accept=accept)
    listed = json.loads(answer).get("00081199", {}).get("Value", [])  # ReferencedSOPSequence
    uid = str(dcmread(BytesIO(content), stop_before_pixels=True).SOPInstanceUID)
    return any(uid in one.get("00081155", {}).get("Value", []) for one in listed)


def wado(content: bytes) -> bytes:
    ds = dcmread(BytesIO(content), stop_before_pixels=True)
    path = (
        f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}"
    )
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    kind, answer = http("GET", path, Accept=accept)
    boundary = email.message_from_string(f"Content-Type: {kind}\n\n").get_boundary()
    start = answer.index(b"\r\n\r\n") + 4  # the one part; a parser of mails would mend line ends
    return answer[start : answer.rindex(f"\r\n--{boundary}".encode())]


def c_store(path: Path) -> bool:
    # dcmtk's: pynetdicom brings another program of this name, with other options.
    command = ["/usr/bin/storescu", "-q", "-R", "-aec", "ORTHANC", "127.0.0.1", DICOM, str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def data_set(content: bytes) -> bytes:
    """Without the file header, which every node writes itself."""
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


def empty() -> None:
    for study in json.loads(http("GET", "/studies")[1]):
        http("DELETE", f"/studies/{study}")


def series_of(study: str) -> int:
    _, answer = http("GET", f"/dicom-web/studies/{study}/series", Accept="application/dicom+json")
    return len(json.loads(answer))


def check(name: str, path: Path, folder: Path) -> list[str]:
    """Problems of one source; prints a line an object."""
    problems = []
    for shown, threshold in (("found", THRESHOLD), ("none", 1.0)):
        empty()
        objects, refused = written(path, threshold)
        for reason in refused:
            print(f"{name:28} {shown:6} not written: {reason}")
        for kind, content in objects.items():
            file = folder / f"{name}-{shown}-{kind}.dcm"
            file.write_bytes(content)
            errors = errors_of(file)
            kept = stow(content) and wado(content) == content
            empty_of_it(content)
            sent = c_store(file) and data_set(wado(content)) == data_set(content)
            print(
                f"{name:28} {shown:6} {kind:17} {len(content):9,} bytes  "
                f"dciodvfy {len(errors)}  "
                f"STOW {'=' if kept else 'X'}  C-STORE {'=' if sent else 'X'}"
            )
            if errors or not kept or not sent:
                problems.append(f"{name} {shown} {kind}: {errors or 'not returned as sent'}")
        if objects:
            study = str(dcmread(BytesIO(content), stop_before_pixels=True).StudyInstanceUID)
            if series_of(study) != len(objects):
                problems.append(f"{name} {shown}: {series_of(study)} series of {len(objects)}")
    return problems


def empty_of_it(content: bytes) -> None:
    uid = str(dcmread(BytesIO(content), stop_before_pixels=True).SOPInstanceUID)
    _, known = http("POST", "/tools/lookup", uid.encode())
    for one in json.loads(known):
        http("DELETE", one["Path"])


def main() -> int:
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with orthanc(folder):
            for name, path in sources(folder, sys.argv[1:]).items():
                problems += check(name, path, folder)
    print("\n".join(problems) or "all objects valid, taken and returned bit by bit")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
