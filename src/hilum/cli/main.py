"""The `hilum` command: one verb a file, heavy imports inside command bodies only."""

from __future__ import annotations

import sys

import typer

from hilum.cli import (
    audit,
    batch,
    bench,
    common,
    data,
    deidentify,
    demo,
    ensemble,
    evaluate,
    explain,
    export,
    feedback,
    inspect,
    pipeline,
    predict,
    report,
    serve,
    submit,
    sweep,
    train,
    users,
)

app = typer.Typer(
    name="hilum",
    help="Finds, outlines and grades lung opacities on chest radiographs. " + common.NOTICE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(demo.demo)
app.command()(inspect.inspect)
app.command()(predict.predict)
app.command()(batch.batch)
app.command()(bench.bench)
app.command()(report.report)
app.command()(deidentify.deidentify)
app.command()(train.train)
app.command()(sweep.sweep)
app.command()(export.export)
app.command()(explain.explain)
app.command()(ensemble.ensemble)
app.command()(submit.submit)
app.command()(serve.serve)
app.command()(feedback.feedback)
app.add_typer(audit.app, name="audit")
app.add_typer(users.app, name="users")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(data.app, name="data")
app.add_typer(evaluate.app, name="evaluate")


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from hilum import __version__

        typer.echo(__version__)
        raise typer.Exit


def run() -> None:
    """Entry point: exit codes 0 done, 1 some inputs refused, 2 usage, 3 failed,
    130 interrupted."""
    sys.exit(common.guarded(app))
