"""`hilum data explore`: one page of figures about a data set."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import options
from hilum.cli.data.sources import ledger, open_source


def explore(
    source: Path = options.SOURCE,
    out: Path = options.output("Folder for index.html and figures/*.png."),
    kind: str = options.KIND,
    option: list[str] = options.OPTIONS,
    files: int = typer.Option(400, min=0, help="Read so many random files; 0: tables only."),
    samples: int = typer.Option(4, min=0, help="Radiographs shown of each class; 0: none."),
    seed: int = options.SEED,
    as_json: bool = options.JSON,
) -> None:
    """Draw classes, boxes, people and files of a data set into one page that needs no network.

    Exit code 1 where a file could not be read.

    Example: hilum data explore rsna/ --kind rsna --out rsna-explored
    """
    from hilum.cli.common import SOME_REFUSED, print_json, progress
    from hilum.core.files import write_bytes, write_text
    from hilum.core.folders import claimed
    from hilum.data.explore.explore import NO_FILES, Summary, read_files, sampled
    from hilum.data.explore.figures import plots
    from hilum.report.explore import explore_page

    catalog = open_source(source, kind, option)
    with claimed(out, "explore", names=("index.html", "figures")):
        with progress("reading and drawing"):
            facts = read_files(sampled(catalog, files, seed)) if files else NO_FILES
            summary = Summary(catalog, facts)
            figures = list(plots(summary))
            content = explore_page(summary, figures, samples if files else 0, seed)
        for figure in figures:
            write_bytes(out / "figures" / f"{figure.name}.png", figure.png)
        write_text(out / "index.html", content)
    if as_json:
        print_json(
            {
                "page": str(out / "index.html"),
                "figures": [figure.name for figure in figures],
                **summary.counts(),
                **ledger(catalog),
            }
        )
    else:
        for path in facts.unreadable:
            typer.echo(f"cannot be read: {path}")
        typer.echo(f"{len(catalog)} images, {len(figures)} figures: {out / 'index.html'}")
    if facts.unreadable:
        raise typer.Exit(SOME_REFUSED)
