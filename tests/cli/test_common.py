"""Exit codes and messages that every verb shares."""

from __future__ import annotations

import errno
import os

import pytest
import typer

from hilum.cli.common import guarded
from hilum.core.errors import GO_ON, ConfigError, DataError, NotFoundRefused


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundRefused("a.dcm", "there is no such file."), 1),
        (ConfigError("no"), 2),
        (DataError("no"), 3),
        (SystemExit(2), 2),
        (ZeroDivisionError("by\nzero"), 3),
        (MemoryError(), 3),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def app() -> None:
        raise error

    assert guarded(app) == code
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == (0 if isinstance(error, SystemExit) else 1)


def test_what_the_disk_refuses_is_no_fault_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    def app() -> None:
        raise OSError(28, "No space left on device", "out/a.png")

    assert guarded(app) == 3
    assert capsys.readouterr().err == f"hilum: out/a.png: No space left on device; {GO_ON}\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_no_fault_of_ours_when_a_library_names_no_file(
    capsys: pytest.CaptureFixture[str], code: int
) -> None:
    def app() -> None:
        raise OSError(code, "Error writing bytes to file. Detail: [errno ..]")

    assert guarded(app) == 3
    assert capsys.readouterr().err == f"hilum: {os.strerror(code)}; {GO_ON}\n"


def test_an_interrupt_says_what_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def verb() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["hilum"])
    assert guarded(app) == 130
    assert "what was finished is kept. Run the same command again" in capsys.readouterr().err


def test_an_unforeseen_error_is_ours_and_shows_its_place_when_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def app() -> None:
        {}["x"]

    monkeypatch.delenv("HILUM_TRACEBACK", raising=False)
    assert guarded(app) == 3
    short = capsys.readouterr().err
    assert short.startswith("hilum: KeyError: 'x'; this is a fault of hilum; run again with HILUM_")
    assert "Traceback" not in short
    monkeypatch.setenv("HILUM_TRACEBACK", "1")
    assert guarded(app) == 3
    long = capsys.readouterr().err
    assert "Traceback" in long
    assert "test_common.py" in long
    assert long.endswith(short)
