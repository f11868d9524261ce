"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    from hypothesis import settings
except ModuleNotFoundError:  # the base install is tested without it
    pass
else:
    # The same examples in every run: what decides whether work lands must not be a draw.
    settings.register_profile("steady", derandomize=True, deadline=None)
    settings.load_profile("steady")


CHROMIUM = Path("/usr/bin/chromium")
# Software rendering: the tests need no graphics card.
ARGUMENTS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What `hilum bench` chose for the person who runs the tests is not tested."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture
def hearing() -> Iterator[None]:
    """Signals that end a process are heard, also where a shell runs the tests in the background and
    so ignores Ctrl-C; what a test starts inherits that."""
    usual = {signal.SIGINT: signal.default_int_handler}
    usual |= dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def hilum_data() -> Path:
    """The folder of real data: $HILUM_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("HILUM_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data is not at {folder}; set HILUM_DATA to test with it")
    return folder


@pytest.fixture(scope="session")
def oracles() -> Path:
    """The folder of test vectors: $HILUM_ORACLES, or ../shared/oracles beside the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "oracles"
    folder = Path(os.environ.get("HILUM_ORACLES", default))
    if not folder.is_dir():
        pytest.skip(f"test vectors are not at {folder}; set HILUM_ORACLES to test with them")
    return folder


@pytest.fixture(scope="module")  # an open browser keeps a running event loop
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()
