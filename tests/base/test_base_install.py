"""The base install reads, predicts and draws without torch, pandas or matplotlib.

`.ci/run` runs this file in an environment with the base install only. Elsewhere the heavy
packages may be installed; then importing them is made to fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import importlib.abc, json, sys
HEAVY = {"torch", "torchvision", "timm", "pytorch_lightning", "pandas", "pyarrow", "matplotlib",
         "scipy", "sklearn"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"{name} is not part of the base install", name=name)

sys.meta_path.insert(0, Refuse())
import hilum
from hilum.cli.main import app
from hilum.data.phantom.phantom import phantom, write_dicom, write_png
from pathlib import Path

folder = Path(sys.argv[1])
made = phantom(seed=3, width=640, height=560, opacities=1)
write_dicom(made, folder / "images" / "a.dcm")
write_png(made, folder / "images" / "b.png")
image = hilum.read(folder / "images" / "a.dcm")
answer = hilum.predict(image)
try:
    app(["predict", str(folder / "images"), "--out", str(folder / "out"), "--workers", "1"])
except SystemExit as stop:
    code = stop.code or 0
print(json.dumps({
    "shape": image.pixels.shape,
    "status": [image.status for image in answer],
    "code": code,
    "heavy": sorted(HEAVY & {name.split(".")[0] for name in sys.modules}),
}))
"""


@pytest.mark.base_install
def test_reading_predicting_and_drawing_need_the_base_install_only(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document == {"shape": [560, 640], "status": ["analysed"], "code": 0, "heavy": []}
    page = tmp_path / "out" / "index.html"
    assert page.is_file()
    report = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert [image["status"] for image in report["images"]] == ["analysed", "analysed"]
    assert len(list((tmp_path / "out").rglob("*.png"))) >= 2
