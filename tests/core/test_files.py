"""Files appear whole or not at all; options and vocabularies help whoever misspells them."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import stat
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from hilum.core import errors
from hilum.core.errors import ConfigError, HilumError, InputRefused, MissingExtraError
from hilum.core.extras import require
from hilum.core.files import (
    atomic_path,
    is_file,
    need_writable,
    read_at_most,
    write_bytes,
    write_quickly,
    write_text,
)
from hilum.core.labels import NOT_SHOWN, VOCABULARY, label
from hilum.core.options import Options, checked, unknown
from hilum.core.percentiles import percentiles

WRITERS = [write_bytes, write_quickly]


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_is_replaced_whole_and_leaves_no_other(tmp_path: Path, write: object) -> None:
    target = tmp_path / "deep" / "er" / "a.json"
    for content in (b"one", b"", b"a longer one" * 1000):
        write(target, content)  # type: ignore[operator]
        assert target.read_bytes() == content
        assert os.listdir(target.parent) == ["a.json"]


def test_a_pipe_without_a_writer_is_empty_and_one_with_a_writer_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_at_most(pipe, 10) == b""
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"some text")
    assert read_at_most(pipe, 8) == b"some text"
    os.close(writer)


@pytest.mark.parametrize("write", WRITERS)
def test_an_error_of_the_disk_names_the_file_that_its_user_knows(
    tmp_path: Path, write: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(tmp_path / "a.json", b"one")  # type: ignore[operator]
    assert caught.value.filename == str(tmp_path / "a.json")
    assert os.listdir(tmp_path) == []


def test_what_breaks_while_it_is_written_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_text(target, "ü")

    def half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert target.read_text(encoding="utf-8") == "ü"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("write", WRITERS)
def test_what_a_killed_process_left_is_written_over_and_not_left_behind(
    tmp_path: Path, write: object
) -> None:
    code = (
        "import os, sys\nfrom hilum.core.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as path:\n    path.write_bytes(b'x' * 99); os._exit(9)"
    )
    target = tmp_path / "a.json"
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == 9
    assert len(os.listdir(tmp_path)) == 1
    write(target, b"whole")  # type: ignore[operator]
    assert os.listdir(tmp_path) == ["a.json"]
    assert target.read_bytes() == b"whole"


def test_two_that_write_one_file_at_once_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    with atomic_path(target) as first:
        first.write_bytes(b"first")
        with atomic_path(target) as second:
            second.write_bytes(b"second, longer")
        assert target.read_bytes() == b"second, longer"
    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_somebody_else_laid_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"theirs")
    (tmp_path / ".a.part.json").symlink_to(theirs)
    write_bytes(tmp_path / "a.json", b"ours")
    (tmp_path / ".a.part.json").unlink()
    os.link(theirs, tmp_path / ".a.part.json")
    write_bytes(tmp_path / "a.json", b"ours")
    assert theirs.read_bytes() == b"theirs"


def test_what_could_not_be_written_at_the_end_is_said_at_the_beginning(tmp_path: Path) -> None:
    need_writable(tmp_path / "deep" / "a.json")
    assert os.listdir(tmp_path / "deep") == []
    (tmp_path / "file").write_text("x")
    for name in ("deep", "file/a.json"):
        with pytest.raises(OSError) as caught:
            need_writable(tmp_path / name)
        assert caught.value.filename


def test_a_quick_write_that_fails_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError):
        write_quickly(tmp_path / "a.png", b"content")
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_results_are_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


# --- options ---


class Kitchen(Options):
    size: int = Field(default=3, ge=1)
    kind: Literal["gas", "wood"] = "gas"
    heat: float = 1.0


def test_an_unknown_key_names_the_nearest_and_all_others() -> None:
    with pytest.raises(ConfigError) as caught:
        checked(Kitchen, {"sise": 4}, "kitchen.yaml")
    text = str(caught.value)
    assert text.startswith("kitchen.yaml: ")
    assert "'sise'" in text
    assert "Did you mean 'size'?" in text
    assert "Known: heat, kind, size." in text
    assert "Did you mean" not in unknown("key", "zzz", ("size",))


@pytest.mark.parametrize(
    "value", [{"size": 0}, {"kind": "coal"}, {"heat": float("nan")}, {"heat": float("inf")}, [1]]
)
def test_options_out_of_range_are_errors_where_they_are_read(value: object) -> None:
    with pytest.raises(ConfigError, match="here"):
        checked(Kitchen, value, "here")


def test_options_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Kitchen().size = 5  # type: ignore[misc]


def test_a_file_takes_memory_as_it_is_long_and_not_as_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    tracemalloc.start()
    assert read_at_most(tmp_path / "a", 2**40) == b"12345"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    assert read_at_most(tmp_path / "a", 5) == b"12345"
    assert len(read_at_most(tmp_path / "a", 3)) == 4  # so that the caller knows
    assert is_file(tmp_path / "a")
    assert not any(is_file(one) for one in (tmp_path, "x" * 5000, "a\0b", tmp_path / "b"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_read_to_its_end_or_the_limit(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for limit, size in ((2**30, 3_000_000), (10, 11)):
        writer = threading.Thread(target=_write, args=[tmp_path / "pipe"])
        writer.start()
        assert len(read_at_most(tmp_path / "pipe", limit)) == size
        writer.join()


def _write(path: Path) -> None:
    with contextlib.suppress(BrokenPipeError):
        path.write_bytes(b"x" * 3_000_000)


# --- errors and names ---


def kinds() -> list[type[HilumError]]:
    every = [value for value in vars(errors).values() if isinstance(value, type)]
    return [one for one in every if issubclass(one, HilumError)]


def test_every_error_is_caught_by_one_base_and_documented() -> None:
    for kind in kinds():
        assert kind.__doc__, kind
    codes = [kind.code for kind in kinds() if issubclass(kind, InputRefused)]
    assert len(set(codes)) == len(codes)  # a machine can tell them apart


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds() if issubclass(kind, InputRefused)], ids=lambda k: k.__name__
)
def test_a_refusal_crosses_to_another_process_whole(kind: type[InputRefused]) -> None:
    own = kind("a.dcm", "what came.", "What to do.")
    again = pickle.loads(pickle.dumps(own))  # noqa: S301
    assert type(again) is kind
    assert (again.source, again.reason, again.remedy) == ("a.dcm", "what came.", "What to do.")
    assert str(again) == str(own) == "a.dcm: what came. What to do."


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"Training needs torch.*hilum\[train\]"):
        require("train")
    assert require("demo", "json").__name__ == "json"


def test_each_label_has_its_own_code_and_a_text() -> None:
    codes = [(one.code.scheme, one.code.value) for one in VOCABULARY.values()]
    assert len(set(codes)) == len(codes)
    for name, one in VOCABULARY.items():
        assert one.name == name == name.lower()
        assert one.text
        assert one.code.meaning
        assert all(0 <= part <= 255 for part in one.colour_rgb)
        assert label(name) is one
    assert not NOT_SHOWN & VOCABULARY.keys()
    with pytest.raises(KeyError, match="opacity"):
        label("opacitiy")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 5000]), st.booleans())
def test_percentiles_are_numpys_to_the_last_bit(seed: int, count: int, few: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random(count).astype(np.float32)
    if few:  # an 8-bit image has 256 values
        values = (np.round(values * 255) / 255).astype(np.float32)
    for at in ((0.5, 99.5), (0, 100), (25, 75)):
        expected = np.percentile(values, at)
        assert percentiles(values, at) == tuple(expected)
