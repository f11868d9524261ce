"""`hilum batch`: an archive -> Parquet shards of findings, on this machine or a Ray cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.scale.batch import Summary

SOURCE_HELP = (
    "Folder, zip, list of paths (.txt), Parquet with a column path, URL (s3://...), or query of a "
    "DICOMweb server (qido+https://SERVER/dicom-web/instances?Modality=CR)."
)


def batch(
    source: str = typer.Argument(..., help=SOURCE_HELP),
    out: Path = options.output("Folder of the shards, seen by all nodes."),
    pipeline: str = options.PIPELINE,
    bundle: list[str] = options.BUNDLES,
    change: list[str] = options.CHANGES,
    precision: str | None = options.PRECISION,
    shards: int = typer.Option(
        64, min=1, help="Parquet files; a killed run repeats the open ones."
    ),
    workers: int = options.WORKERS,
    threads: int = options.THREADS,
    address: str | None = typer.Option(None, help="A Ray cluster; else Ray starts here."),
    no_masks: bool = options.NO_MASKS,
    untrusted: bool = options.UNTRUSTED,
    as_json: bool = options.JSON,
    fresh: bool = options.FRESH,
) -> None:
    """Analyse an archive into Parquet shards. Research use only: a qualified reader decides.

    A row an image, refused ones with their reason; `entry` is its line of findings.json. A run
    that was stopped goes on; finished shards are not read again.

    Example: hilum batch archive/ --out shards --shards 256
    """
    from hilum.dicom.reading import Reading
    from hilum.inference.job import Job
    from hilum.inference.pipeline import Pipeline
    from hilum.report.results import ResultFolder
    from hilum.scale.batch import batch as run
    from hilum.scale.cluster import finish, ready

    ready(address)
    out = out.resolve()
    described = Pipeline.load(pipeline, change).with_named(bundle)
    how = common.running(described, precision, workers, threads)
    job = Job(
        described.changed(precision=how.precision),
        threads=how.threads,
        masks=not no_masks,
        sink=ResultFolder(out, {}),  # outlines, as `hilum predict --write ""`
        reading=Reading(untrusted=untrusted),
    )
    on_ray = partial(finish, workers=how.workers, address=address)
    done = run(source, out, job, shards=shards, finish=on_ray, fresh=fresh, advance=_progress())
    if as_json:
        common.print_json(done.to_json())
    else:
        _say(done, out)
    whole = set(done.counts) <= {"analysed"}
    raise typer.Exit(common.DONE if whole else common.SOME_REFUSED)


def _progress() -> Callable[[int, int], None]:
    """A line a shard on stderr."""
    started = time.perf_counter()

    def advance(done: int, of: int) -> None:
        rate = done / (time.perf_counter() - started)
        print(f"{done} of {of} images, {rate:.1f} images/s", file=sys.stderr)

    return advance


def _say(done: Summary, out: Path) -> None:
    words = ", ".join(f"{number} {status}" for status, number in sorted(done.counts.items()))
    typer.echo(
        f"{sum(done.counts.values())} images in {done.shards} shards: {words or 'none'}. "
        f"{done.images_now} now, in {done.seconds:.1f} s; {done.shards_kept} shards were finished."
    )
    typer.echo(f"Look at {out}. {common.NOTICE}")
