"""Run by qido.sh inside a network namespace of its own; see there."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
from orthanc import HTTP, orthanc, stow
from pydicom import dcmread
from pydicom.uid import generate_uid

from helpers.certificates import Pair, authority, certificate
from hilum.data.phantom.phantom import phantom, write_dicom

HTTPS = "https://127.0.0.1:8443"
USER, PASSWORD = "batch", "a-secret-of-this-gate"


def command(
    query: str, out: Path, given: argparse.Namespace, **environment: object
) -> tuple[int, str]:
    """`hilum batch` of a query: its exit status, and all that it printed."""
    words = [sys.executable, "-m", "hilum", "batch", query, "--out", str(out), "--json"]
    words += ["--shards", "8", "--workers", str(given.workers)]
    named = {f"HILUM_DICOMWEB_{key}": str(value) for key, value in environment.items()}
    done = subprocess.run(
        words, env=os.environ | named, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def rows(out: Path) -> list[dict[str, str]]:
    files = sorted((out / "shards").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def whole(file: Path) -> tuple[str, bytes]:
    """SOP UID and bytes, as an archive takes them: public sets lack UIDs of study and series."""
    ds = dcmread(file)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if "." not in str(ds.get(keyword, "")):
            setattr(ds, keyword, generate_uid())
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    content = BytesIO()
    ds.save_as(content)
    return str(ds.SOPInstanceUID), content.getvalue()


def wrong(out: Path, held: dict[str, bytes]) -> list[str]:
    """What the shards of a run say other than that every instance was read once, as stored."""
    found = {row["path"].rpartition("/")[2]: row for row in rows(out)}
    print(out.name, dict(Counter(row["status"] for row in found.values())))
    problems = []
    if found.keys() != held.keys() or len(found) != len(rows(out)):
        problems.append(f"{out.name}: {len(held)} instances sent, {len(found)} in the shards")
    for uid in found.keys() & held.keys():
        content = hashlib.sha256(held[uid]).hexdigest()
        if json.loads(found[uid]["entry"])["content_sha256"] != content:
            problems.append(f"{out.name}: {uid}: other bytes than were stored")
    kept = [f.read_bytes() for f in out.rglob("*") if f.is_file()]
    for secret in (PASSWORD.encode(), base64.b64encode(f"{USER}:{PASSWORD}".encode())):
        if any(secret in content for content in kept):
            problems.append(f"{out.name}: the password is in the output")
    return problems


@contextmanager
def terminator(folder: Path, pair: Pair) -> Iterator[None]:
    """TLS before the archive, as hospitals have it. (Debian's Orthanc 1.10.1 ends by SIGSEGV at the
    first request by its own TLS.)"""
    (folder / "stunnel.conf").write_text(
        f"foreground = yes\npid =\n[archive]\naccept = 127.0.0.1:{HTTPS.rpartition(':')[2]}\n"
        f"connect = 127.0.0.1:8042\ncert = {pair.certificate}\nkey = {pair.key}\n"
    )
    command = ["stunnel4", str(folder / "stunnel.conf")]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3)
        yield
    finally:
        server.terminate()
        server.wait()


def tried(folder: Path, given: argparse.Namespace, held: dict[str, bytes]) -> Iterator[str]:
    """Runs with and without what the archive asks for; what is wrong with them."""
    password = folder / "password"
    password.write_text(PASSWORD)
    ca = authority(folder / "authority")
    pair = certificate(ca, folder / "archive", "127.0.0.1")
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}}
    who = {"USER": USER, "PASSWORD_FILE": password}
    query = f"qido+{HTTP}{given.path}"
    with orthanc(folder, users):
        status, text = command(query, folder / "denied", given, USER="nobody")
        if status == 0 or "401" not in text:
            yield f"without a password: exit status {status}: {text[-300:]}"
        status, text = command(query, folder / "plain", given, **who)
        yield from [text[-300:]] * (status != 0) + wrong(folder / "plain", held)
    query = f"qido+{HTTPS}{given.path}"
    with orthanc(folder, users), terminator(folder, pair):
        status, text = command(query, folder / "unknown", given, **who)
        if status == 0 or "certificate" not in text.lower() or any(folder.glob("unknown/shards/*")):
            yield f"an authority that nobody believes: exit status {status}: {text[-300:]}"
        status, text = command(query, folder / "tls", given, **who, CA=ca.certificate)
        yield from [text[-300:]] * (status != 0) + wrong(folder / "tls", held)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--path", default="/dicom-web/instances?Modality=CR")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module="pydicom")  # the UIDs of some public files
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not given.files:
            given.files = [folder / f"{n}.dcm" for n in range(20)]
            for seed, file in enumerate(given.files):
                write_dicom(phantom(seed=seed, width=512, height=512), file)
        held = dict(whole(file) for file in given.files)
        with orthanc(folder):
            problems = [f"{uid}: not stored" for uid, one in held.items() if not stow(one)]
        problems += tried(folder, given, held)
    print("\n".join(problems) or "every instance once, as it was stored; no secret was written")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
