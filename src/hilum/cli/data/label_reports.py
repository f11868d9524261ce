"""`hilum data label-reports`: texts of reports -> weak labels of findings."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import options


def label_reports(
    reports: Path = typer.Argument(..., help="A CSV with a text column, one report a row."),
    out: Path = options.output("The CSV of labels; never overwritten."),
    text: str = typer.Option("report", help="Column of the text."),
    key: str = typer.Option("", help="Column that names a report; default: the first other one."),
    as_json: bool = options.JSON,
) -> None:
    """Label findings by rules of words, with negation and doubt: 1 there, 0 denied, blank unknown.

    Weak labels, and named so (column `weak`): never mix them with labels of readers without
    saying so. Beside each label stands the sentence that decided.

    Example: hilum data label-reports reports.csv --text impression --out weak.csv
    """
    from hilum.cli.common import print_json, progress
    from hilum.core.extras import require

    require("eval")
    from hilum.data.report_table import label_table

    with progress("labelling"):
        counts = label_table(reports, out, text=text, key=key)
    if as_json:
        print_json(counts)
        return
    typer.echo(f"{counts['reports']} reports, {counts['blank']} without a text: {out}")
    for name, one in counts["findings"].items():
        typer.echo(
            f"{name:14} {one['present']} there, {one['absent']} denied, {one['doubt']} doubted"
        )
