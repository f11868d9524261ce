"""`hilum evaluate checklist`: CLAIM 2024 and TRIPOD+AI, as far as a run and a bundle know."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import common, options


def checklist(
    sources: list[Path] = typer.Argument(
        ..., help="A bundle, the folder of a run, or both of one model."
    ),
    out: Path = options.output("The Markdown file to complete."),
    as_json: bool = options.JSON,
) -> None:
    """Answer the reporting checklists of imaging AI and prediction models from what files say.

    Nothing is guessed: an item is known, known in part, or left to a named person.

    Example: hilum evaluate checklist runs/a a.zip --out checklist.md
    """
    from hilum.core.extras import require

    require("eval")
    from hilum.core.files import write_text
    from hilum.report.checklist.evidence import read_evidence
    from hilum.report.checklist.page import answer, markdown

    evidence = read_evidence(sources)
    answered = answer(evidence)
    write_text(out, markdown(evidence, answered))
    if as_json:
        common.print_json([one.to_json() for one in answered])
        return
    for one in answered:
        typer.echo(one.coverage)
    typer.echo(f"{out}: what is left is marked there")
