"""`hilum evaluate` and its verbs: predictions and truth -> numbers.

challenge   a submission's score, as its challenge computes it
report      models against a catalog: numbers with intervals, curves, comparisons
epochs      thresholds of score and suppression over the epochs of a run
calibrate   validation predictions -> a bundle with operating points and maps
checklist   CLAIM 2024 and TRIPOD+AI, as far as a run and a bundle know
"""

from __future__ import annotations

import typer

from hilum.cli.common import add_verbs

# Each a file beside this one with a function of its name.
VERBS = ("challenge", "report", "epochs", "calibrate", "checklist")

app = typer.Typer(no_args_is_help=True, help="Evaluate predictions.")


@app.callback()
def _evaluate() -> None:
    """Evaluate predictions."""


add_verbs(app, __name__, VERBS)
