"""The paths that a document names."""

from __future__ import annotations

import re

PART = r"(?:[A-Za-z0-9_-]+|\{[a-z_,]+\})"
PATH = re.compile(
    rf"(?<![\w./$<{{,-])((?:{PART}/)*{PART}\.(?:py|yaml|sh|toml)|(?:{PART}/)+)(?![\w…*])"
)


def paths(text: str) -> list[str]:
    """What a text names, `{a,b}.py` taken apart; NAME and VERB in a path are the reader's."""
    out = []
    for found in PATH.findall(text):
        before, choices, after = re.fullmatch(r"([^{]*)\{?([^}]*)\}?(.*)", found).groups()  # type: ignore[union-attr]
        each = [before + one + after for one in choices.split(",")] if choices else [found]
        out += [one for one in each if not re.search(r"\b[A-Z]+\b", one)]
    return out
