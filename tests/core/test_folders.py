"""A folder is one run's at a time, and nobody's files are mixed with results or taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hilum.core.errors import ConfigError
from hilum.core.files import OWN_MARK
from hilum.core.folders import claimed, held

HOLD = (
    "import sys, time; from pathlib import Path; from hilum.core.folders import held\n"
    "with held(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_two_runs_never_share_a_folder_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=rf"another run \(process {process.pid}\) writes"):
        held(out).__enter__()
    process.kill()
    process.wait()
    process.stdout.close()
    assert (out / OWN_MARK / "lock").exists()
    with held(out), pytest.raises(ConfigError, match="another run"):
        held(out).__enter__()
    assert names(out) == []


def test_a_run_that_leaves_nothing_leaves_no_folder_and_takes_none_away(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "er", tmp_path / "mine"):
        if folder.name == "mine":
            folder.mkdir()
        with pytest.raises(ZeroDivisionError), claimed(folder, "check"):
            raise ZeroDivisionError
    assert names(tmp_path) == ["mine", "new"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_nobody_may_write_to_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="nothing can be written there"):
        held(tmp_path / "out").__enter__()
    tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match=r"nothing can be written there \(Not a directory"):
        held(tmp_path / "out").__enter__()


def test_files_of_others_are_never_written_over_and_other_names_do_not_matter(
    tmp_path: Path,
) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"not empty, and of no earlier run: index\.html there"):
        claimed(tmp_path, "check", names=("index.html", "*.csv")).__enter__()
    with pytest.raises(ConfigError, match="not empty"):
        claimed(tmp_path, "convert").__enter__()
    assert names(tmp_path) == ["index.html"]
    with claimed(tmp_path, "check", names=("*.csv",)):
        (tmp_path / "a.csv").write_text("ours")
    for _ in range(2):  # made anew as often as one likes
        with claimed(tmp_path, "check", names=("*.csv",)):
            pass
    with pytest.raises(ConfigError, match=r"a\.csv there"):  # another kind of run
        claimed(tmp_path, "explore", names=("a.csv",)).__enter__()


def test_an_export_goes_on_with_its_own_settings_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def broken_off() -> None:
        with claimed(out, "convert", settings="coco", stays=False):
            (out / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    with pytest.raises(ConfigError, match="other options or of other data"):
        claimed(out, "convert", settings="voc", stays=False).__enter__()
    assert names(out) == [OWN_MARK, f"{OWN_MARK}/convert", "half"]
    with claimed(out, "convert", settings="coco", stays=False):
        (out / "half").rename(out / "whole")
    assert names(out) == ["whole"]  # as it should be, without our mark
    with pytest.raises(ConfigError, match="not empty"):
        claimed(out, "convert", settings="coco", stays=False).__enter__()


def test_settings_of_a_start_that_left_nothing_bind_nobody(tmp_path: Path) -> None:
    (tmp_path / OWN_MARK).mkdir()
    (tmp_path / OWN_MARK / "convert").write_text("coco")  # killed before its first file
    with claimed(tmp_path, "convert", settings="voc"):
        pass
