"""Texts become plain data, or one typed error says why not; nothing is misread in silence."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.documents import (
    DEEPEST,
    Parse,
    decoded,
    parse_json,
    parse_toml,
    parse_yaml,
    read_document,
)
from hilum.core.errors import MOST_SHOWN, DataError, DocumentError, HilumError, InputRefused

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_json, '{"a": [1, 0.5, "x", null, true]}'),
        (parse_yaml, "a: [1, .5, x, null, true]"),
        (parse_yaml, "a: &b [1, .5, x, ~, yes]\n"),
        (parse_yaml, "a: [1, .5, x, null, true]".replace(" ", "  ") + "\r\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_same_data_whatever_wrote_them(parse: Parse, text: str, encoding: str) -> None:
    assert parse(text.encode(encoding)) == {"a": [1, 0.5, "x", None, True]}


def test_toml_is_plain_data_too() -> None:
    assert parse_toml(b'\xef\xbb\xbfa = 1\r\n[b]\nc = "x"\r\n') == {"a": 1, "b": {"c": "x"}}


def test_yaml_keys_and_dates_are_what_was_written() -> None:
    written = "{0: a, no: b, null: c, 1.10: d, e: 2026-01-01}"
    assert parse_yaml(written) == {"0": "a", "no": "b", "null": "c", "1.10": "d", "e": "2026-01-01"}


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_json, '{"a": 1, "a": 2}', "'a' stands there twice"),
        (parse_json, '[{"b": {"a": 1, "c": 1, "a": 1}}]', "'a' stands there twice"),
        (parse_yaml, "a: 1\na: 2", "'a' stands there twice"),
        (parse_yaml, "deep: {a: 1, b: 2, a: 3}", "'a' stands there twice"),
        (parse_yaml, 'list: [{1: 1, "1": 1}]', "'1' stands there twice"),
        (parse_toml, "a = 1\na = 2", "not TOML"),
        (parse_json, "[NaN]", "NaN is no number"),
        (parse_json, "[-Infinity]", "-Infinity is no number"),
        (parse_json, "[1e999]", "inf is no finite number"),
        (parse_json, "[" + "9" * 30 + "]", "more than 64 bits"),
        (parse_json, "[" + "9" * 5000 + "]", "not JSON"),
        (parse_yaml, "a: .nan", "nan is no finite number"),
        (parse_yaml, "a: -.INF", "-inf is no finite number"),
        (parse_toml, "a = inf", "inf is no finite number"),
        (parse_toml, "a = 2026-01-01", "is a date; put it into quotes"),
        (parse_yaml, "a: !!timestamp 2026-01-01", "is a date"),
        (parse_yaml, "a: !!set {b, c}", "is a set"),
        (parse_yaml, "a: !!binary aGlsdW0=", "is a bytes"),
        (parse_yaml, "!!python/object/apply:os.getcwd []", "not YAML"),
        (parse_yaml, "!!python/name:os.getcwd : a", "not YAML"),
        (parse_yaml, "a: !!timestamp x", "not YAML"),
        (parse_yaml, "a: !!float x", "not YAML"),
        (parse_yaml, "!!map [a]", "not YAML"),
        (parse_yaml, "? [a, b]\n: c", "not YAML"),
        (parse_yaml, "a: [", "not YAML"),
        (parse_yaml, "--- a\n--- b", "not YAML"),
        (parse_yaml, "a: &a {<<: *a}", "merge keys"),
        (parse_yaml, LAUGHS, "aliases written out"),
        (parse_yaml, "a: &a [*a]", "nested deeper"),
        (parse_json, "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "nested deeper"),
        (parse_json, "[" * 100_000, "nested deeper"),
        (parse_yaml, "[" * 60_000, "nested deeper"),
        (parse_toml, "a = " + "[" * 10_000, "nested deeper"),
        (parse_toml, "a." * 1000 + "b = 1", "nested deeper"),
        (parse_yaml, "- " + "x" * 2**16, "larger than"),
        (parse_json, '["\\ud800"]', "half a character"),
        (parse_json, '{"\\u0000": 1}', "NUL"),
        (parse_json, '["\0"]', "NUL"),
        (parse_yaml, 'a: "\\0"', "NUL"),
        (parse_json, b'["\xe9"]', "byte 2 is not UTF-8"),
        (parse_yaml, b"\xff\xfea", "not UTF-8"),
        (parse_json, "", "not JSON"),
    ],
)
def test_what_would_be_misread_is_refused(parse: Parse, text: str | bytes, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse(text)


def test_what_is_just_allowed_is_read() -> None:
    assert parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))
    assert parse_json(f"[{2**63 - 1}, {-(2**63)}]") == [2**63 - 1, -(2**63)]
    assert parse_json('["\\ud83e\\udec1"]') == ["\U0001fac1"]  # two halves are a whole


def test_a_file_that_cannot_be_read_is_the_callers_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{")
    for name in ("a.json", "nothing", ".", "x" * 300, "a\0b"):
        with pytest.raises(DataError) as caught:
            read_document(tmp_path / name, parse_json, DataError)
        assert str(tmp_path) in str(caught.value)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200), st.sampled_from([parse_json, parse_yaml]))
def test_any_bytes_are_data_or_a_document_error(content: Any, parse: Parse) -> None:
    with contextlib.suppress(DocumentError):
        parse(content)


# --- messages ---


@given(st.text(), st.text())
def test_an_error_can_be_shown_whatever_it_quotes(first: str, second: str) -> None:
    for error in (HilumError(first + "\x1b[2J" + second), InputRefused(first, second + "\u202e")):
        assert all(line.isprintable() for line in str(error).split("\n"))
    assert len(str(HilumError(first * 5000))) <= MOST_SHOWN * 12


def test_a_byte_order_mark_is_no_character() -> None:
    assert decoded("\ufeffa".encode()) == decoded("\ufeffa") == "a"
