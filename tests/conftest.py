"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

try:
    from hypothesis import settings
except ModuleNotFoundError:  # the base install is tested without it
    pass
else:
    # The same examples in every run: what decides whether work lands must not be a draw.
    settings.register_profile("steady", derandomize=True, deadline=None)
    settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What `hilum bench` chose for the person who runs the tests is not tested."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


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
