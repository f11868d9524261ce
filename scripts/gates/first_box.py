"""Called by first_box.sh: `install FOLDER` with the network, then `look FOLDER [PNG]` without."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
ARGUMENTS += ["--enable-unsafe-swiftshader"]
ALLOWED_S, ALLOWED_ACTIONS = 180.0, 3
PAGE = "http://127.0.0.1:8080"  # what `hilum serve` prints; a namespace's own


class Steps:
    """Seconds of each step; kept in the folder, since two processes make them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "steps.json"
        self.seconds: dict[str, float] = (
            json.loads(self.file.read_text()) if self.file.exists() else {}
        )

    def take(self, what: str, step: Callable[[], Any]) -> Any:
        begun, busy = time.monotonic(), _busy()
        answer = step()
        self.seconds[what] = time.monotonic() - begun
        self.file.write_text(json.dumps(self.seconds))
        # What ended programs computed: unlike the clock, it hardly depends on who else computes.
        computed = f" ({_busy() - busy:.1f} s of a processor)" if _busy() > busy else ""
        print(f"{self.seconds[what]:7.1f} s  {what}{computed}", flush=True)
        return answer


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def install(folder: Path) -> None:
    steps, pip = Steps(folder), folder / "venv/bin/pip"
    home = os.environ | {"HOME": str(folder), "PIP_NO_CACHE_DIR": "1"}
    venv = [sys.executable, "-m", "venv", str(folder / "venv")]
    steps.take("python3 -m venv", lambda: subprocess.run(venv, check=True))
    command = [str(pip), "install", "--quiet", f"{ROOT}[serve]"]
    steps.take(
        "action 1: pip install 'hilum[serve]'",
        lambda: subprocess.run(command, check=True, env=home),
    )


def look(folder: Path, picture: str) -> None:
    steps = Steps(folder)
    env = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
    hilum = str(folder / "venv/bin/hilum")
    served: list[subprocess.Popen[str]] = []

    def serve() -> None:
        served.append(
            subprocess.Popen([hilum, "serve"], env=env, text=True, stdout=subprocess.PIPE)
        )
        for line in served[0].stdout or ():
            print("          ", line.rstrip())
            if PAGE in line:
                return
        raise SystemExit("hilum serve ended before it showed a page")

    try:
        steps.take("action 2: hilum serve, until it prints the page's address", serve)
        with sync_playwright() as api:
            browser = api.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(300_000)
            _look(page, steps, picture)
            browser.close()
    finally:
        for process in served:
            process.terminate()
            process.wait(60)
    seconds = sum(steps.seconds.values())
    actions = sum(what.startswith("action") for what in steps.seconds)
    print(f"{seconds:7.1f} s  in all, {actions} actions")
    sys.exit(seconds > ALLOWED_S or actions > ALLOWED_ACTIONS)


def _look(page: Any, steps: Steps, picture: str) -> None:
    def opened() -> None:
        page.goto(PAGE)
        page.wait_for_selector("#sample")

    def pressed() -> None:
        page.click("#sample")
        page.wait_for_selector(".stage[data-ready]")

    steps.take("the page stands (its address is what hilum serve printed)", opened)
    steps.take("action 3: the sample radiograph pressed, until its pixels are seen", pressed)
    steps.take("until its findings and their boxes are seen", lambda: _boxes(page))
    if picture:
        page.screenshot(path=picture)


def _boxes(page: Any) -> None:
    page.wait_for_selector(".finding")
    page.wait_for_selector("svg.marks rect")


if __name__ == "__main__":
    if sys.argv[1] == "install":
        install(Path(sys.argv[2]))
    else:
        look(Path(sys.argv[2]), sys.argv[3])
