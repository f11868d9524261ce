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
import warnings
from collections import Counter
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
from orthanc import HTTP, http, orthanc, stow
from pydicom import dcmread
from pydicom.uid import generate_uid

from hilum.data.phantom.phantom import phantom, write_dicom

USER, PASSWORD = "batch", "a-secret-of-this-gate"


def command(out: Path, given: argparse.Namespace, **environment: str) -> tuple[int, str]:
    """`hilum batch` of all CR of the archive: its exit status, and all that it printed."""
    words = [sys.executable, "-m", "hilum", "batch", given.query, "--out", str(out), "--json"]
    words += ["--shards", "8", "--workers", str(given.workers)]
    done = subprocess.run(
        words, env=os.environ | environment, capture_output=True, text=True, check=False
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--query", default=f"qido+{HTTP}/dicom-web/instances?Modality=CR")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module="pydicom")  # the UIDs of some public files
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not given.files:
            given.files = [folder / f"{n}.dcm" for n in range(20)]
            for seed, file in enumerate(given.files):
                write_dicom(phantom(seed=seed, width=512, height=512), file)
        with orthanc(folder):
            held = dict(whole(file) for file in given.files)
            for content in held.values():
                stow(content)
            count = len(json.loads(http("GET", "/instances")[1]))
        users = {"AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}}
        with orthanc(folder, users):
            (folder / "password").write_text(PASSWORD)
            status, text = command(folder / "denied", given, HILUM_DICOMWEB_USER="nobody")
            if status == 0 or "401" not in text:
                problems.append(f"without a password: exit status {status}: {text[-300:]}")
            who = {"USER": USER, "PASSWORD_FILE": str(folder / "password")}
            environment = {f"HILUM_DICOMWEB_{key}": value for key, value in who.items()}
            status, text = command(folder / "out", given, **environment)
            print(text[-400:])
        found = {row["path"].rpartition("/")[2]: row for row in rows(folder / "out")}
        if found.keys() != held.keys() or len(found) != len(rows(folder / "out")):
            problems.append(f"{len(held)} instances sent, {len(found)} in the shards")
        for uid in found.keys() & held.keys():
            content = hashlib.sha256(held[uid]).hexdigest()
            if json.loads(found[uid]["entry"])["content_sha256"] != content:
                problems.append(f"{uid}: other bytes than were stored")
        kept = [f for f in (folder / "out").rglob("*") if f.is_file()]
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode())
        for secret in (PASSWORD.encode(), basic):
            if secret in text.encode() or any(secret in file.read_bytes() for file in kept):
                problems.append("the password is in the output")
        print(dict(Counter(row["status"] for row in found.values())), f"{count} in the archive")
    print("\n".join(problems) or "every instance once, as it was stored; no secret was written")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
