"""Doors of results and settings: findings.json, the journal of a result folder, the service's
configuration."""

from __future__ import annotations

import json
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from helpers.fuzzing.door import Door, check_message
from helpers.fuzzing.tables import catalog, check_boxes
from helpers.fuzzing.trees import json_shape, toml_shape
from hilum.core.documents import decoded
from hilum.core.errors import DataError, HilumError
from hilum.core.findings import Findings, StudyResult
from hilum.core.manifest import OperatingPoint
from hilum.core.radiograph import Identifiers
from hilum.core.results import ImageResult, PipelineInfo, RunResult, load_results, masks_of
from hilum.evaluate.answers import match_answers
from hilum.evaluate.prediction_files import read_predictions, write_predictions
from hilum.inference.journal import NAME, Journal
from hilum.report.page import data as page_data
from hilum.report.results import to_csv, to_text
from hilum.report.submissions import write_submission
from hilum.serve.check import unsafe
from hilum.serve.config import load


def _image(name: str, score: float, **changes: Any) -> ImageResult:
    own: dict[str, Any] = {
        "name": name,
        "status": "analysed",
        "findings": Findings(
            width=128,
            height=128,
            boxes_px=np.array([[1, 2, 50.5, 60.25], [3, 3, 9, 9]], np.float32),
            scores=np.array([score, 0.125], np.float32),
            labels=("opacity", "opacity"),
            image_scores={"opacity": score, "normal": 0.25},
        ),
        "ids": Identifiers(patient_id="p", study_instance_uid="1.2", sop_instance_uid="1.2.3"),
        "width": 128,
        "height": 128,
        "seconds": 0.25,
        "content_sha256": "ab" * 32,
        "warnings": ("reading: odd",),
        "outlines": {"lungs": "M1 2l3-4z"},
        "masks": {"lungs": "mask/a-lungs.png"},
        "files": {"picture": "picture/a.jpg"},
    }
    return ImageResult(**(own | changes))


_NOTHING: dict[str, Any] = {
    "findings": None,
    **{"warnings": (), "outlines": {}, "masks": {}, "files": {}, "seconds": 0.0},
}


@cache
def images() -> tuple[ImageResult, ...]:
    return (
        _image("x/a.png", 0.875),
        _image("b.png", 0.5, masks={}, files={}, outlines={}, content_sha256="cd" * 32),
        _image("c.png", 0.5, status="refused", reason="unreadable: it is text. Copy.", **_NOTHING),
        _image("d.dcm", 0.5, status="failed", reason="memory: not enough.", **_NOTHING),
    )


# --- findings.json ------------------------------------------------------------------------------


@cache
def _findings_seeds() -> list[bytes]:
    point = OperatingPoint(threshold=0.3, reason="best F1")
    info = PipelineInfo("p", "1", (("toy", "f" * 64),), {"default": point}, "test", "a" * 64)
    run = RunResult(info, images(), (StudyResult("1.2", {"opacity": 0.875}, (0, 1)),))
    empty = RunResult(info, (), ())
    return [to_text(run).encode(), to_text(run).encode(), to_text(empty).encode()]


def _findings(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "findings.json")
        path.write_bytes(data)
        stated = _stated(data)
        run = _whole(Path(folder), stated)
        predictions = read_predictions(path)
        assert len(predictions.images) == len(stated)
        for image in predictions.images.values():
            check_boxes(image.boxes)
            assert all(0 <= score <= 1 for score in (*image.scores, *image.whole.values()))
        write_predictions(Path(folder, "again.json"), predictions)
        assert len(read_predictions(Path(folder, "again.json")).images) == len(stated)
        account = match_answers(catalog(), predictions).account
        assert account.answered + account.unanswered == len(catalog())
        for challenge in ("rsna", "siim-covid", "siim-acr"):
            _submitted(Path(folder, "s.csv"), challenge, path)
    if isinstance(run, DataError):
        raise run
    return "read"


def _stated(data: bytes) -> list[Any]:
    try:
        value = json.loads(decoded(data))
        return list(value["images"])
    except Exception:  # noqa: BLE001  what it is not is the readers' to say
        return []


def _whole(folder: Path, stated: list[Any]) -> RunResult | DataError:
    """What `hilum report` does; it needs more keys than evaluating does."""
    try:
        run = load_results(folder)
    except DataError as error:
        return error
    assert len(run) == len(stated)
    to_text(run), to_csv(run), page_data(run)
    for image in run:
        if image.findings is not None:
            check_boxes(image.findings.boxes_px)
            assert all(0 <= one <= 1 for one in image.findings.image_scores.values())
        try:
            masks_of(image, folder)
        except DataError as error:
            check_message(error)
    for study in run.studies:
        assert all(0 <= score <= 1 for score in study.scores.values())
        assert all(0 <= row < len(run) for row in study.images)
    return run


def _submitted(out: Path, challenge: str, path: Path) -> None:
    try:
        submission = write_submission(out, challenge, read_predictions(path))
    except HilumError:
        return
    assert submission.answered + len(submission.blank) == submission.rows


# --- A result folder's journal ------------------------------------------------------------------

_FINGERPRINT = "f" * 64


@cache
def _journal_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        with Journal(Path(folder), _FINGERPRINT) as journal:
            for image in images():
                journal.append(image)
            journal.append(_image("e.png", 0.75, masks={}, files={}))
        return [Path(folder, NAME).read_bytes()]


def _journal_shape(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind < 3 and lines[at]:
        lines[at] = json_shape(rng, lines[at])
    elif kind == 3:
        lines.insert(at, rng.choice(lines))
    else:
        lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
    return b"\n".join(lines)


def _journal(data: bytes) -> str:
    """Whatever happened to the journal, what it answers is what was recorded."""
    known = {(one.name, one.content_sha256): one for one in (*images(), _image("e.png", 0.75))}
    with tempfile.TemporaryDirectory() as folder:
        for file in (NAME, "mask/a-lungs.png", "picture/a.jpg"):
            path = Path(folder, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        with Journal(Path(folder), _FINGERPRINT) as journal:
            held = len(journal)
            for name, sha256 in known:
                found = journal.find(name, sha256)
                if found is not None:
                    recorded = known[name, sha256].to_record() | {"masks": {}, "files": {}}
                    assert found.to_record() | {"masks": {}, "files": {}} == recorded
            assert journal.names() <= {name for name, _ in known}
            journal.append(_image("new.png", 0.5))
        with Journal(Path(folder), _FINGERPRINT) as again:
            assert len(again) == held + 1
            assert again.find("x/a.png", "ef" * 32) is None
    return "read" if held == len(known) else "damaged"


# --- The service's configuration ----------------------------------------------------------------

_CONFIG = """
folder = "~/hilum"
workers = 2
limit_bytes = 1000000000
write = "picture,sr"
log_level = "warning"
pipelines = {default = "default", covid = "siim-covid"}
[node]
port = 11113
ae_title = "HILUM"
allow = ["CR1", "DX2"]
idle_s = 30.5
tls = {certificate = "c.pem", key = "k.pem", ca = "ca.pem"}
[web]
host = "127.0.0.1"
origins = ["https://a.example"]
[web.users.reader]
role = "reader"
password = "$argon2id$v=19$m=1,t=1,p=1$aaaa$bbbb"
[web.oidc]
issuer = "https://id.example"
client_id = "hilum"
[destinations.pacs]
dicom = {host = "pacs", port = 104, ae_title = "PACS"}
objects = ["sr", "seg"]
retry = {first_s = 1.0, longest_s = 60.0}
[destinations.research]
web = {url = "https://r.example/dicom-web", token_file = "t"}
objects = ["source"]
deidentify = true
[[rules]]
sender = "CR*"
pipelines = ["covid"]
destinations = ["pacs"]
priority = "stat"
[priors]
web = {url = "https://p.example/dicom-web"}
[worklist]
web = {url = "https://w.example/dicom-web"}
"""


def _config(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hilum.toml")
        path.write_bytes(data)
        config = load(path, {})
        assert config.root.is_absolute()
        assert config.database_url
        unsafe(config)
        again = load(None, {"HILUM_SERVE_NODE": config.node.model_dump_json()})
        assert again.node == config.node
    return "read"


RESULTS: dict[str, Door] = {
    "findings.json": Door(_findings_seeds, _findings, shape=json_shape),
    "journal": Door(_journal_seeds, _journal, shape=_journal_shape),
    "service configuration": Door(lambda: [_CONFIG.encode()], _config, shape=toml_shape),
}
