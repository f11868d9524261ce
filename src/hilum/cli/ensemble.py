"""`hilum ensemble`: prediction files of several models -> one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.evaluate.prediction_files import PredictionFile
    from hilum.inference.stages import StageSpec


SUMMARY = ("metric", "options", "score", "nested", "fold_scores")  # of a search, in the summary


class Metric(StrEnum):
    """What a search makes high."""

    AP50 = "ap50"
    RSNA = "rsna"


def ensemble(
    files: list[Path] = typer.Argument(..., help="Two or more prediction files of one form."),
    out: Path = options.output("The fused file, in the same form; of findings.json also a .csv."),
    method: str = typer.Option(
        "weighted-boxes", help="A fusion of pipelines: weighted-boxes, nms, union, vote ..."
    ),
    option: list[str] = typer.Option(
        [], "--set", help="An option of the fusion, such as iou=0.5 or mode=max; repeatable."
    ),
    then: list[str] = typer.Option(
        [], help="A stage after it, such as '{use: nms, iou: 0.5}' or '{use: scale}'; repeatable."
    ),
    weights: str = typer.Option("", help="One number a file, e.g. 2,1,1; else equal."),
    search: Path | None = typer.Option(
        None,
        help="A catalog (Parquet): try the options of the method on folds of --search-part and "
        "fuse with the best; beside --out, NAME.search.json says what was tried.",
    ),
    search_part: str = typer.Option("validation", help="Part of its split to search on."),
    folds: int = typer.Option(5, min=2, help="Folds of its patients."),
    metric: Metric = typer.Option(Metric.AP50, help="What the search makes high."),
    finding: str = options.FINDING,
    as_json: bool = options.JSON,
) -> None:
    """Fuse the predictions of several models: RSNA or SIIM-COVID CSV, or findings.json.

    Stages, options and defaults are those of pipelines (docs/pipelines.md). Scores without a place
    (study classes, `none`, image scores) become weighted means. Masks are not fused. Boxes of
    copies of another size are scaled to the first file's. Calibrate detectors of different kinds
    first: raw scores are not comparable.

    Example: hilum ensemble a.csv b.csv --search catalog.parquet --search-part validation
    --out fused.csv
    """
    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("eval")
    from hilum.core.files import write_text
    from hilum.core.options import assignment
    from hilum.evaluate.ensemble import fuse_files
    from hilum.evaluate.prediction_files import model_names, read_predictions
    from hilum.evaluate.thresholds.fusion_search import searched
    from hilum.inference.ensemble import Ensemble
    from hilum.inference.stages import StageSpec

    if len(files) < 2:
        raise ConfigError("an ensemble needs two prediction files or more")
    if search is not None and weights:
        raise ConfigError("--search tries weights of its own; leave out --weights")
    names = model_names(files)
    own, later = dict(assignment(pair) for pair in option), [_stage(text) for text in then]
    given = _weights(weights, names)

    def ensemble_of(tried: Mapping[str, Any]) -> Ensemble:
        options = own | {key: value for key, value in tried.items() if key != "weights"}
        spec = StageSpec(use=method, options=options)
        return Ensemble(tried.get("weights", given), spec, later)

    ensemble_of({})  # a wrong option is an error before anything is read
    with common.progress("fusing"):
        parts = {name: read_predictions(file) for name, file in zip(names, files, strict=True)}
        _check_name(out, parts[names[0]].form)
        choice: dict[str, Any] = {}
        if search is not None:
            _, document = searched(
                parts,
                lambda some, tried: fuse_files(some, ensemble_of(tried)).file,
                method,
                catalog=search,
                part=search_part,
                folds=folds,
                metric=metric.value,
                finding=finding,
            )
            write_text(out.with_suffix(".search.json"), json.dumps(document, indent=1) + "\n")
            choice = {key: document[key] for key in SUMMARY}
        fused = fuse_files(parts, ensemble_of(choice.get("options", {})))
        _write(out, fused.file)
    whose = {"method": method, "files": len(parts), "out": str(out)}
    summary = choice | whose | fused.to_json()
    if as_json:
        common.print_json(summary)
    else:
        _tell(summary)
        if _is_table(out, fused.file):
            typer.echo("a table of boxes; for a challenge's file: --out x.json, then hilum submit")


def _tell(summary: Mapping[str, Any]) -> None:
    typer.echo(
        "{out}: {images} images, {boxes_in} boxes of {files} files -> {boxes_out}".format(**summary)
    )
    for name in summary["without_boxes"]:
        typer.echo(f"{name} holds no boxes: it has no voice in their fusion, its scores have")
    if summary["scaled"]:
        typer.echo(f"{summary['scaled']} predictions were made at another size and scaled")
    if summary["by_name"]:
        text = "predictions were matched by file name or number: their paths differ"
        typer.echo(f"{summary['by_name']} {text}")
    if summary["unstated"]:
        typer.echo(f"{summary['unstated']} predictions state no size: taken in the others' pixels")
    if summary["partial"]:
        typer.echo(f"{summary['partial']} images were refused or failed in some files, not in all")
    if "options" in summary:
        common.tell_search(summary)


def _check_name(out: Path, form: str) -> None:
    """The name says what is written."""
    from hilum.core.errors import ConfigError
    from hilum.core.files import need_writable

    known = {"findings": (".json", ".csv")}.get(form, (".csv",))
    if out.suffix.lower() not in known:
        raise ConfigError(
            f"--out {out.name}: these are {form} predictions; needed: a name that ends in "
            f"{' or '.join(known)}"
        )
    need_writable(out)


def _write(out: Path, fused: PredictionFile) -> None:
    """In the form of the files; findings as the table of `hilum predict` where a .csv is asked."""
    from hilum.core.files import write_text
    from hilum.core.results import RunResult
    from hilum.evaluate.prediction_files import document, write_predictions
    from hilum.report.results import to_csv

    if _is_table(out, fused):
        write_text(out, to_csv(RunResult.from_json(document(fused))))
    else:
        write_predictions(out, fused)


def _is_table(out: Path, fused: PredictionFile) -> bool:
    return fused.form == "findings" and out.suffix.lower() == ".csv"


def _stage(text: str) -> StageSpec:
    """A stage as it stands in a pipeline."""
    from hilum.core.documents import parse_yaml
    from hilum.core.errors import ConfigError, DocumentError
    from hilum.core.options import checked
    from hilum.inference.stages import StageSpec

    try:
        return checked(StageSpec, parse_yaml(text), f"--then {text!r}")
    except DocumentError as error:
        raise ConfigError(f"--then {text!r}: {error}") from error


def _weights(text: str, names: Sequence[str]) -> dict[str, float]:
    from hilum.core.errors import ConfigError

    if not text:
        return dict.fromkeys(names, 1.0)
    values = common.numbers(text, "--weights")
    if len(values) != len(names):
        raise ConfigError(f"--weights {text!r}: needed: {len(names)} numbers, one a file")
    return dict(zip(names, values, strict=True))
