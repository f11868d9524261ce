"""Options that several verbs have: one name, one meaning, one help text.

Those of one verb stand in its file. Knows no command.
"""

from __future__ import annotations

from typing import Any

import typer


def output(what: str) -> Any:
    """Where a verb writes."""
    return typer.Option(..., "--out", "-o", help=what)


JSON = typer.Option(False, "--json", help="Print the result as JSON, for machines.")
FRESH = typer.Option(False, "--fresh", help="Begin anew, without what is already there.")
FINDING = typer.Option("opacity", help="Which finding: label of boxes, name of scores and masks.")
SEED = typer.Option(0, min=0, help="The same seed gives the same answer.")

# What is asked, and how it runs.
PIPELINE = typer.Option("default", help="A pipeline's YAML file, or a shipped name.")
BUNDLES = typer.Option(
    [],
    "--bundle",
    help="A bundle of the pipeline's model: NAME=PATH, repeated for several; PATH alone where it "
    "has one model.",
)
CHANGES = typer.Option(
    [],
    "--set",
    help="Change the pipeline's text: boxes.0.iou=0.4, masks.lungs.1={use: threshold, at: 0.4}, "
    "models.segmenter.when=null (null leaves out); repeatable.",
)
CHOSEN = "as `hilum bench` chose here, else"
PRECISION = typer.Option(None, help=f"fp32 or int8; {CHOSEN} the bundle's default.")
WORKERS = typer.Option(0, min=0, help=f"Processes; 0: {CHOSEN} one a core, at most 8.")
THREADS = typer.Option(0, min=0, help=f"Threads of each process; 0: {CHOSEN} 1.")
NO_MASKS = typer.Option(False, "--no-masks", help="No masks, no outlines.")

# How files are read and results written.
WINDOW = typer.Option(None, help="Centre and width for reading, instead of each file's own window.")
FULL_RANGE = typer.Option(
    False, "--full-range", help="Read the whole stored range, without windows and VOI LUTs."
)
UNTRUSTED = typer.Option(
    False, "--untrusted", help="Open files in a child process with limits of time and memory."
)
WRITE_HELP = (
    "Files of each image, after each its options: picture:side=1536,mask,overlay,sr. An unknown "
    "name lists them all (docs/findings-json.md); an empty text for findings only."
)

# A data set, whether a directory of its own kind or a catalog.
SOURCE = typer.Argument(..., help="A catalog (Parquet), or a set's directory with --kind.")
KIND = typer.Option("", help="Kind of set: rsna, siim-covid, coco, folder, …")
OPTIONS = typer.Option(
    [],
    "--option",
    help="NAME=VALUE for the set's reader, repeated: table=labels.csv, columns.image_id=file, "
    "columns.AccessionNumber=exam, unknown=unclear, classes=folders, masks.opacity=masks, "
    "no_mask=empty, uncertain=ones, readers=majority, headers=true; docs/data.md.",
)
SPLIT = typer.Option(
    None, help="Parts by a file of `hilum data split`, or a list of held-out patients."
)
PART_HELP = "Only this part of the catalog's split, or parts: test, validation,test."
PART = typer.Option("", help=PART_HELP)
READERS = typer.Option(0, min=0, help="Files read at once; 0: one a core.")

# What is trained, and what predictions are evaluated against.
DATA = typer.Option(
    ..., envvar="HILUM_DATA", help="Folder with the training sets, or a catalog (.parquet)."
)
RECIPE_CHANGES = typer.Option(
    [], "--set", help="Change a setting: stages.base.steps=20, augment=heavy (repeatable)."
)
CATALOG = typer.Argument(..., help="A catalog (Parquet).")
STUDY = typer.Option("max", help="Study from images: max, mean or noisy-or.")

CONFIG = typer.Option(
    None,
    "--config",
    "-c",
    envvar="HILUM_SERVE_CONFIG",
    help="The service's TOML file: docs/service.md.",
)
