"""The built page is that of the sources, small, and self-contained."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
STATIC, SOURCES = ROOT / "src/hilum/serve/static", ROOT / "viewer"


def test_the_built_page_is_made_of_todays_sources() -> None:
    lines = (STATIC / "sources.sha256").read_text("utf-8").splitlines()
    built = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    today = {
        path.relative_to(SOURCES).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in SOURCES.rglob("*")
        if path.is_file() and "node_modules" not in path.parts
    }
    changed = sorted(name for name in built | today if built.get(name) != today.get(name))
    assert not changed, f"run scripts/build_viewer.sh; changed since: {changed}"


def test_the_shipped_page_is_below_three_megabytes() -> None:
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < 3 * 2**20


def test_the_page_has_no_inline_code_and_names_no_other_host() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    assert all(one.startswith("./") and (STATIC / one).is_file() for one in addresses)


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((SOURCES / "package-lock.json").read_text("utf-8"))["packages"]
    assert not [name for name, entry in packages.items() if "resolved" in entry]


def test_the_page_never_calls_an_image_normal() -> None:
    words = (SOURCES / "src/words.ts").read_text("utf-8")
    assert 'NOTHING = "No target finding above the threshold"' in words
    shown = (STATIC / "index.html").read_text("utf-8") + _own_code()
    texts = re.findall(r'[`"]([^`"]*\bnormal\b[^`"]*)[`"]', shown)
    assert set(texts) <= {"normal", "not-normal"}  # names of scores that are not shown


def _own_code() -> str:
    return "".join(path.read_text("utf-8") for path in (SOURCES / "src").glob("*.ts"))


def test_every_package_in_the_page_ships_its_notice() -> None:
    """MIT, BSD and Apache-2.0 want copyright line and text to go with copies."""
    notices = (STATIC / "third-party.md").read_text("utf-8")
    sections = re.findall(
        r"^## (\S+?):? ([^\n]*)\n(.*?)(?=^## |\Z)", notices, re.MULTILINE | re.DOTALL
    )
    texts: dict[str, str] = {}
    for name, _, body in sections:
        texts[name] = texts.get(name, "") + body
    assert {"@cornerstonejs/core", "@kitware/vtk.js", "gl-matrix", "seedrandom"} <= texts.keys()
    for name, body in texts.items():
        assert "Copyright" in body, f"{name}: no notice in third-party.md"
    locked = json.loads((SOURCES / "package-lock.json").read_text("utf-8"))["packages"]
    for name, version, _ in re.findall(r"^## (\S+) - (\S+) \((.*)\)$", notices, re.MULTILINE):
        assert locked[f"node_modules/{name}"]["version"] == version, name
