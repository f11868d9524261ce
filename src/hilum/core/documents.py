"""JSON, YAML and TOML that people and programs write -> plain data; the one border for all of them.

Plain data are None, booleans, finite numbers, texts, and lists and mappings of these. What would be
misread in silence is refused instead: a key that stands twice, NaN, dates, NUL, numbers beyond 64
bits, more than a text can honestly hold (nesting, aliases of aliases). Knows no schema.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from hilum.core.errors import DocumentError, HilumError
from hilum.core.files import read_at_most

Text = str | bytes
Parse = Callable[[Text], Any]

MOST_BYTES = 2**30  # of JSON, which holds the results of an archive
WRITTEN_BYTES = 2**16  # of YAML and TOML, which people write; PyYAML reads some 50 kB a second
DEEPEST = 64
MOST_VALUES = 100_000  # of YAML, aliases written out
LARGEST = 2**63
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_document(path: str | os.PathLike[str], parse: Parse, error: type[HilumError]) -> Any:
    """Plain data of a file.

    Args:
        parse: `parse_json`, `parse_yaml` or `parse_toml`.
        error: what is raised, with the file's name.
    """
    try:
        content = read_at_most(path, MOST_BYTES)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{os.fspath(path)} cannot be read: {reason}") from problem
    try:
        return parse(content)
    except DocumentError as problem:
        raise error(f"{os.fspath(path)}: {problem}") from problem


def parse_json(content: Text) -> Any:
    """
    Raises:
        DocumentError: not JSON, or no plain data.
    """
    return _parsed("JSON", content, MOST_BYTES, _json)


def parse_foreign_json(content: Text) -> Any:
    """As `parse_json`, of programs that write NaN and Infinity where there is no number; these are
    for the caller to look for.

    Raises:
        DocumentError: not JSON, or no plain data.
    """
    return _parsed("JSON", content, MOST_BYTES, _foreign_json, finite=False)


def parse_yaml(content: Text) -> Any:
    """YAML as it is usually written: no merge keys, no code; keys and dates are texts.

    Raises:
        DocumentError: not YAML, or no plain data.
    """
    return _parsed("YAML", content, WRITTEN_BYTES, parse=_yaml, values=MOST_VALUES)


def parse_toml(content: Text) -> Any:
    """
    Raises:
        DocumentError: not TOML, or no plain data.
    """
    return _parsed("TOML", content, WRITTEN_BYTES, tomllib.loads)


def decoded(content: Text) -> str:
    """Text of UTF-8, or of UTF-16 that says so, without its byte order mark.

    Raises:
        DocumentError: of another encoding, or with NUL characters.
    """
    if isinstance(content, str):
        text = content.removeprefix("\ufeff")
    else:
        try:
            text = content.decode("utf-16" if content[:2] in UTF16_MARKS else "utf-8-sig")
        except UnicodeDecodeError as error:
            raise DocumentError(f"byte {error.start} is not UTF-8; save it as UTF-8") from error
    if "\0" in text:
        raise DocumentError("it holds NUL characters; it is damaged, or no text")
    return text


def _parsed(
    kind: str,
    content: Text,
    most: int,
    parse: Callable[[str], Any],
    values: float = math.inf,
    finite: bool = True,
) -> Any:
    if len(content) > most:
        raise DocumentError(f"it is larger than {most} bytes; needed: {kind} that people write")
    text = decoded(content)
    try:
        value = parse(text)
    except DocumentError:
        raise
    except RecursionError as error:
        raise DocumentError(_TOO_DEEP) from error
    except MemoryError as error:
        raise DocumentError("it needs more memory than there is") from error
    except Exception as error:  # parsers of hostile text raise whatever they like
        raise DocumentError(f"it is not {kind} ({' '.join(str(error).split())})") from error
    _check_plain(value, values, finite)
    return value


_TOO_DEEP = f"it is nested deeper than {DEEPEST}; needed: less"


def _check_plain(value: Any, most: float, finite: bool) -> None:
    """Raises DocumentError for what is no plain data; an alias counts as often as it stands."""
    count = 0
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        count += 1
        if count > most:
            raise DocumentError(f"it holds more than {most} values, aliases written out")
        if depth > DEEPEST:
            raise DocumentError(_TOO_DEEP)
        kind = type(one)
        if kind is dict:
            for key, item in one.items():
                if type(key) is not str:
                    raise DocumentError(f"key {key!r} is no text; put it into quotes")
                _check_text(key)
                waiting.append((item, depth + 1))
        elif kind is list:
            waiting += [(item, depth + 1) for item in one]
        elif kind is str:
            _check_text(one)
        elif kind is int or kind is float:
            if not -LARGEST <= one < LARGEST and (finite or kind is int):  # NaN is nowhere
                raise DocumentError(f"{_short(one)} is no finite number of 64 bits")
        elif kind is not bool and one is not None:
            raise DocumentError(f"{one!r} is a {kind.__name__}; put it into quotes")


def _check_text(text: str) -> None:
    if text.isascii() and "\0" not in text:
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(f"{text!r} holds half a character; needed: whole ones") from error
    if "\0" in text:
        raise DocumentError(f"{text!r} holds a NUL character")


def _short(number: float) -> str:
    return "a number of more than 64 bits" if isinstance(number, int) else repr(number)


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)


def _foreign_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise DocumentError(_twice(key for key, _ in pairs))
    return value


def _no_number(word: str) -> None:
    raise DocumentError(f"{word} is no number; needed: finite ones, null where there is none")


def _twice(keys: Iterable[str]) -> str:
    """Of two, the one above would be passed over in silence."""
    seen: set[str] = set()
    key = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return f"key {key!r} stands there twice"


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506  it is a SafeLoader


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        """Called at each bracket; looking ahead takes time that grows with their square."""
        if self.flow_level > DEEPEST:
            raise DocumentError(_TOO_DEEP)
        super().fetch_flow_collection_start(TokenClass)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called before a mapping is made. Keys are texts as written: 0, no and null, too."""
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if key.tag == f"{_TAG}merge":
                raise DocumentError("merge keys (<<) are not read; write the keys out")
            if key.tag in _IMPLICIT:
                key.tag = f"{_TAG}str"
        names = [key.value for key in keys]
        if len(set(names)) < len(names):
            raise DocumentError(_twice(names))


_TAG = "tag:yaml.org,2002:"
_IMPLICIT = frozenset(f"{_TAG}{kind}" for kind in ("int", "float", "bool", "null"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
