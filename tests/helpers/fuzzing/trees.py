"""Changes of what a text means: wrong types, missing and extra keys, numbers that are none,
nesting, keys twice, aliases, odd characters, marks and ends of lines, other encodings.

A tree is plain data; what plain data cannot say (a key twice, an alias) stands in it as a mark that
is replaced in the written text.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import random
from collections.abc import Callable
from typing import Any

import yaml

MARK = "rawmark"
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 0.5, -0.0, 1e-320, 1e308, 2**31, 2**63, -(2**63) - 1, 10**400, 65536),
    *(float("nan"), float("inf"), float("-inf"), True, False, None),
)
TEXTS = (
    *("", " ", "\0", "a\0b", "../../x", "/etc/passwd", "C:\\x", "..\\x", "~no-one/x", "a/../../b"),
    *(
        "\ud800",
        "\u202etxt",
        "\ufeffa",
        "ａ",
        "é",
        "e\u0301",
        "🫁",
        "a\r\nb",
        "\x1b[2J",
        "\t",
        "\x85",
    ),
    *("NaN", "inf", "1e999", "1_0", "１２", "0x10", "-0", "true", "null", "1,5", "=1+1", "'", '"'),
    *("<script>", "javascript:alert(1)", "{{7*7}}", "%s%n", "x" * 10_000, "fp32", "default", "-1"),
)
TREES: tuple[Any, ...] = ([], {}, [[]], [None], {"": 1}, [1, "a"], {"a": {"b": []}}, [[1, 2], [3]])
JSON_RAW = (
    *("NaN", "-Infinity", "1e999", "9" * 400, "9" * 5000, "[" * 100 + "]" * 100, "[" * 5000),
    *('{"a": 1, "a": 2}', '"\\ud800"', '"\\u0000"', "01", "'a'", "", "nul", "/* a */ 1", "1,"),
)
YAML_RAW = (
    *("&x [*x]", "&y {a: *y}", "*nobody", "{<<: {a: 1}}", "!!python/object/apply:os.getcwd []"),
    *(".nan", "-.inf", "!!timestamp x", "2026-01-01", "!!set {a}", "!!binary aGk=", "!!float x"),
    *(
        "[" * 100 + "]" * 100,
        "[" * 3000,
        "{a: 1, a: 2}",
        "? [a]\n: b",
        "0o17",
        "1:30",
        "0x1F",
        "no",
    ),
    *("[&l [x, x, x], &m [*l, *l, *l, *l], [*m, *m, *m, *m]]", "|\n  a", "@", "%a", "!!map [a]"),
    *("!!int x", "9" * 400, "9" * 5000, "!a b", "- - - -", "---", "...", "\t- a", "'", "[a, ,]"),
)
TOML_RAW = (
    *("inf", "-nan", "2026-01-01", "07:32:00", "9" * 400, "9" * 5000, "[" * 100 + "]" * 100),
    *("[" * 3000, "{a = 1, a = 2}", '"\\ud800"', "'''", "0o17", "1_000", "", "{a.b.c = 1}", "true"),
)
Change = Callable[[random.Random, Any], Any]


def changed(rng: random.Random, tree: Any, raws: list[str], raw: tuple[str, ...]) -> Any:
    """The tree with one to four changes; new raw texts are appended to `raws`."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        tree = _change(rng, tree, raws, raw)
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value below the top."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        items = (
            one.items()
            if isinstance(one, dict)
            else enumerate(one)
            if isinstance(one, list)
            else ()
        )
        for key, value in items:
            found.append((one, key))
            waiting.append(value)
    return found


def _change(rng: random.Random, tree: Any, raws: list[str], raw: tuple[str, ...]) -> Any:
    places = _places(tree)
    if not places or rng.random() < 0.01:
        return value(rng)
    holder, key = rng.choice(places)
    kind = rng.randrange(12)
    if kind < 3:
        holder[key] = value(rng)
    elif kind == 3:  # of the same kind, so that more passes the types
        holder[key] = _alike(rng, holder[key])
    elif kind == 4:
        del holder[key]
    elif kind == 5:
        _rename(rng, holder, key)
    elif kind == 6:
        _twice(rng, holder, key, raws)
    elif kind == 7:
        holder[key] = rng.choice(([holder[key]], {"a": holder[key]}, [holder[key]] * 2))
    elif kind == 8:
        other, place = rng.choice(places)
        if place in other if isinstance(other, dict) else place < len(other):
            holder[key] = copy.deepcopy(other[place])
    elif kind == 9:
        holder[key] = mark(raws, rng.choice(raw))
    elif kind == 10 and isinstance(holder[key], (list, str)):
        holder[key] = holder[key] * rng.choice((2, 3, 50))
    else:
        holder[key] = _alike(rng, holder[key])
    return tree


def value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(rng.choice((NUMBERS, TEXTS, TREES))))


def _alike(rng: random.Random, old: Any) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, (int, float)):
        return rng.choice(
            (*NUMBERS[:13], -old, old + 1, old * 2, old % 3, -old * 3, str(old)[:300])
        )
    if isinstance(old, str):
        at = rng.randrange(len(old) + 1)
        return rng.choice((rng.choice(TEXTS), old[:at], old[:at] + rng.choice(TEXTS) + old[at:]))
    if isinstance(old, list):
        return rng.choice((old[:-1], old[::-1], old + old, []))
    return value(rng)


def _rename(rng: random.Random, holder: Any, key: Any) -> None:
    name = rng.choice((*TEXTS, "extra", str(key) + "x"))
    if isinstance(holder, dict):
        holder[name] = holder.pop(key) if rng.random() < 0.5 else value(rng)
    else:
        holder.insert(key, value(rng))


def _twice(rng: random.Random, holder: Any, key: Any, raws: list[str]) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[mark(raws, str(key), as_key=True)] = rng.choice((holder[key], value(rng)))


def mark(raws: list[str], text: str, *, as_key: bool = False) -> str:
    raws.append(text)
    return f"{MARK}{'k' if as_key else 'v'}{len(raws) - 1:04d}"


def filled(text: str, raws: list[str], quote: str = '"') -> str:
    for number, raw in enumerate(raws):
        text = text.replace(f"{quote}{MARK}v{number:04d}{quote}", raw)
        text = text.replace(f"{MARK}k{number:04d}", raw).replace(f"{MARK}v{number:04d}", raw)
    return text


def written(rng: random.Random, text: str) -> bytes:
    """As bytes; a few as other programs write them."""
    kind = rng.randrange(24)
    if kind == 0:
        return text.encode("utf-16", "surrogatepass")
    if kind == 1:
        return text.encode("cp1252", "replace")
    if kind == 2:
        return b"\xef\xbb\xbf" + text.encode(errors="surrogatepass")
    if kind == 3:
        text = text.replace("\n", "\r\n")
    if kind == 4:
        text = text.replace("\n", "\r")
    if kind == 5:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(TEXTS) + text[at:]
    return text.encode(errors="surrogatepass")


def json_shape(rng: random.Random, data: bytes) -> bytes:
    """A changed JSON text."""
    raws: list[str] = []
    tree = changed(rng, json.loads(data), raws, JSON_RAW)
    return written(rng, filled(json.dumps(tree, ensure_ascii=rng.random() < 0.5), raws))


def yaml_shape(rng: random.Random, data: bytes) -> bytes:
    """A changed YAML text."""
    raws: list[str] = []
    tree = changed(rng, yaml.safe_load(data), raws, YAML_RAW)
    flow = rng.choice((None, False, True))
    text = yaml.dump(tree, sort_keys=False, default_flow_style=flow, width=1000)
    return written(rng, filled(text, raws, ""))


def toml_shape(rng: random.Random, data: bytes) -> bytes:
    """A changed TOML text, its tables in lines."""
    import tomllib

    raws: list[str] = []
    tree = changed(rng, tomllib.loads(data.decode()), raws, TOML_RAW)
    lines = tree.items() if isinstance(tree, dict) else [("a", tree)]
    text = "".join(f"{_toml_key(k)} = {_toml(v)}\n" for k, v in lines)
    return written(rng, filled(text, raws))


def _toml(tree: Any) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{_toml_key(k)} = {_toml(v)}" for k, v in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_toml, tree)) + "]"
    if tree is None:
        return '""'
    if isinstance(tree, float):
        return repr(tree)
    return json.dumps(tree, ensure_ascii=False)


def _toml_key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key, ensure_ascii=False)


def csv_shape(rng: random.Random, data: bytes) -> bytes:
    """A changed table: cells, rows, columns, quotes, delimiters."""
    rows = [list(row) for row in csv.reader(io.StringIO(data.decode()))]
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change_rows(rng, rows)
    out = io.StringIO()
    delimiter = rng.choice((",", ",", ",", ",", ";", "\t"))
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    text = out.getvalue()
    if rng.random() < 0.1:  # a quote that nobody closes, a cell that ends in mid-line
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(('"', "\n", ",", '""', "\r")) + text[at:]
    return written(rng, text)


def _change_rows(rng: random.Random, rows: list[list[str]]) -> None:
    row = rng.choice(rows)
    at = rng.randrange(len(row)) if row else 0
    kind = rng.randrange(9)
    if kind < 3 and row:
        row[at] = _cell(rng, row[at])
    elif kind == 3 and row:
        del row[at]
    elif kind == 4:
        row.insert(at, rng.choice(TEXTS))
    elif kind == 5 and len(rows) > 1:
        rows.remove(row)
    elif kind == 6:
        rows.insert(rng.randrange(len(rows) + 1), list(row))
    elif kind == 7:
        other = rng.choice(rows)
        row[:] = [*row[:at], *other[at:]]
    elif row:
        words = row[at].split(" ")
        words[rng.randrange(len(words))] = _cell(rng, rng.choice(words))
        row[at] = " ".join(words)


def _cell(rng: random.Random, old: str) -> str:
    if rng.random() < 0.5:
        return str(rng.choice(NUMBERS[:16]))
    new = _alike(rng, old)
    return new if isinstance(new, str) else str(new)
