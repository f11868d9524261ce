"""What `pip install 'hilum[serve]'` brings is all that the service needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.service import radiograph_file, toy_pipeline

PROGRAM = """
import importlib.abc, json, sys
from pathlib import Path

OTHERS = {"torch", "onnx", "pandas", "pyarrow", "matplotlib", "scipy", "sklearn", "numba"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in OTHERS:
            raise ModuleNotFoundError(f"{name} is not part of hilum[serve]", name=name)

sys.meta_path.insert(0, Refuse())
from fastapi.testclient import TestClient
from hilum.serve.config import Config
from hilum.serve.service import Service
from hilum.serve.web.app import create_app
from hilum.serve.work import ANALYSING, SENDING
from hilum.serve.worker import Worker

folder, pipeline = Path(sys.argv[1]), sys.argv[2]
settings = {"folder": folder / "kept", "pipelines": {"default": pipeline}, "reserve_bytes": 0}
service = Service(Config.model_validate(settings | {"write": "picture,mask,sr,seg,gsps,sc"}))
service.records.upgrade()
client = TestClient(create_app(service), "http://127.0.0.1:8080", raise_server_exceptions=False)

def work():
    worker = Worker(service, ANALYSING + SENDING, "test")
    while worker.once():
        pass

def ask(method, path, **options):
    answer = client.request(method, path, **options)
    seen[f"{method} {path}".replace(id, "ID")] = answer.status_code
    return answer

id, seen, API = "ID", {}, "/api/v1"
files = {"files": ("a.dcm", (folder / "a.dcm").read_bytes())}
id = ask("POST", f"{API}/images", files=files).json()["images"][0]["id"]
work()
image = ask("GET", f"{API}/images/{id}").json()
(finding,) = image["results"]["default"]["images"][0]["findings"]
for verdict in ("accept", "reject"):
    remark = {"verdict": verdict, "finding": finding["id"]}
    ask("POST", f"{API}/images/{id}/feedback", json=remark)
for name in ("feedback", "picture", "pixels", "masks/lungs"):
    ask("GET", f"{API}/images/{id}/{name}")
for kind in ("json", "png", "sr", "seg", "gsps", "sc"):
    ask("GET", f"{API}/images/{id}/files/{kind}")
ask("POST", f"{API}/images/{id}/heatmap")
work()
ask("GET", f"{API}/images/{id}/heatmap")
for path in ("status", "images", "monitor", "admin", "feedback/export"):
    ask("GET", f"{API}/{path}")
ask("POST", f"{API}/admin/audit/verify")
for path in ("/metrics", "/health/ready", "/openapi.json", "/dicom-web/instances"):
    ask("GET", path)
service.close()
print(json.dumps({"seen": seen, "state": image["state"]}))
"""


@pytest.mark.slow
def test_everything_is_answered_with_what_the_extra_brings(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(radiograph_file())
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(toy_pipeline())]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer["state"] == "analysed"
    assert {path: code for path, code in answer["seen"].items() if code >= 300} == {}
