"""A table of reports -> a table of weak labels, one row a report, beside the sentences."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.core.errors import ConfigError, DataError
from hilum.core.files import write_text
from hilum.core.options import unknown
from hilum.data.cells import read_cells, to_csv
from hilum.data.report_text import TERMS, label_report


def label_table(reports: Path, out: Path, *, text: str = "report", key: str = "") -> dict[str, Any]:
    """Write `out`: the key, `weak` (always 1), and for each finding label_<name> (1, 0, blank) and
    said_<name>, the sentence that decided. Returns counts.

    Raises:
        ConfigError: `out` is there already.
        DataError: no such table or column, or a key that stands twice.
    """
    if out.exists():
        raise ConfigError(f"{out} is there already; labels go into a new file")
    cells = read_cells(reports)
    if cells.short:
        raise DataError(f"{reports}: row {cells.short[0]} has fewer cells than there are columns")
    table = cells.table
    for column in filter(None, (text, key)):
        if column not in table:
            raise DataError(f"{reports}: {unknown('column', column, map(str, table))}")
    others = [column for column in table if column != text]
    if not others:
        raise DataError(f"{reports}: needed: a column beside {text!r} that names each report")
    own = key or others[0]
    if table[own].duplicated().any():
        twice = table[own][table[own].duplicated().to_numpy(bool)].iat[0]
        raise DataError(f"{reports}: {own} {twice!r} stands twice; needed: one row a report")
    labels = [label_report(words) for words in table[text]]
    rows = pd.DataFrame({own: table[own], "weak": 1})
    counts: dict[str, Counter[str]] = {}
    for name in TERMS:
        readings = [one.get(name) for one in labels]
        rows[f"label_{name}"] = [None if one is None else one.value for one in readings]
        rows[f"said_{name}"] = ["" if one is None else one.sentence for one in readings]
        counts[name] = Counter(one.says for one in readings if one is not None)
    write_text(out, to_csv(rows))
    return {
        "reports": len(table),
        "blank": int((table[text].str.strip() == "").sum()),
        "findings": {
            name: {says: own[says] for says in ("present", "absent", "doubt")}
            for name, own in counts.items()
        },
    }
