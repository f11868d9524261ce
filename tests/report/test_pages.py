"""Pages need no network, escape what they are given, and show every number by its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as MatplotlibFigure

from hilum.evaluate.classes import ClassCases
from hilum.evaluate.metrics.names import METRICS
from hilum.report.pages import _environment
from hilum.report.published import PUBLISHED, published_of
from hilum.report.run import run_page, sweep_figures, sweep_page


def _rows(seed: int = 0) -> pd.DataFrame:
    epochs = np.arange(1, 6)
    noise = np.random.default_rng(seed).random(5)
    return pd.DataFrame(
        {
            **{"epoch": epochs, "stage": ["heads"] * 2 + ["all"] * 3, "loss": 1 / epochs},
            **{
                "val_loss": 1.2 / epochs + noise,
                "val_box": 0.5 / epochs,
                "val_class": 0.7 / epochs,
            },
            **{"ap50": epochs / 10, "ap50_opacity": epochs / 10, "rsna_score": epochs / 20},
            **{"auc": epochs / 6, "dice": epochs / 7, "learning_rate": 1e-4},
        }
    )


CLASSES = ClassCases(
    classes=("normal", "opacity"),
    patients=np.arange(3),
    truth=np.array([0, 0, 1]),
    scores=np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]),
    left_out=0,
)


def _page(rows: pd.DataFrame) -> str:
    data = {"set": "<i>rsna</i>", "images": {"train": 9}, "sha256": "ab" * 32}
    results = {"validation": {"ap50": 0.5, "rsna_score": 0.25}, "test": {"ap50": float("nan")}}
    return run_page(
        "r",
        rows,
        about="About <b>it</b>.",
        settings="seed: <0>",
        data=data,
        results=results,
        samples=[],
        classes={"test": CLASSES},
    )


def test_a_runs_page_is_one_file_that_escapes_what_it_shows(tmp_path: Path) -> None:
    html = _page(_rows())
    assert "<i>rsna" not in html
    assert "<b>it" not in html
    assert "src=" not in html
    assert "<link" not in html
    assert "default-src 'none'" in html
    for title in ("Loss", "Validation loss by component", "Boxes on validation", "Learning rate"):
        assert f'aria-label="{title}"' in html
    assert "AP at IoU .5, opacity" not in html  # its mean is there
    assert "RSNA score of the boxes shown" in html
    confusion = html.partition('aria-label="Classes, test part"')[2].partition("</figure>")[0]
    assert "3 cases of exactly one class" in confusion


def test_a_number_of_one_label_stands_beside_that_of_all_where_it_differs() -> None:
    """With one label of boxes both are the same number; of three classes each has its own."""
    data = {"set": "s", "images": {}, "sha256": "ab" * 32}
    numbers = {"ap50": 0.5, "ap50_opacity": 0.5, "auc": 0.8, "auc_opacity": 0.8, "auc_normal": 0.9}
    zeros = {"ap50": 0.0, "ap50_95": 0.0}
    results = {"untrained": zeros, "validation": numbers}
    html = run_page(
        "r",
        pd.DataFrame(),
        about="",
        settings="",
        data=data,
        results=results,
        samples=[],
        classes={},
    )
    assert "AP at IoU .5, opacity" not in html
    assert "AUC, opacity" not in html
    assert "AUC, normal" in html
    assert "AP at IoU .5 to .95" in html


def test_a_run_without_an_epoch_has_a_page() -> None:
    assert "Curves" not in _page(pd.DataFrame())


def test_runs_of_one_epoch_are_points_of_a_sweeps_curves() -> None:
    """A line through one point is nothing to see."""
    curves = {("a", "1"): _rows().iloc[:1], ("b", "1"): _rows().iloc[:1]}
    axes = MatplotlibFigure().subplots()
    sweep_figures("ap50", curves)[0].draw(axes)
    assert {line.get_marker() for line in axes.get_lines()} == {"o"}


def test_a_run_of_one_epoch_has_its_page_without_a_warning() -> None:
    rate = 1.0000000000000001e-07  # of which Matplotlib makes a range of nothing
    rows = _rows()[:1].assign(learning_rate=rate)
    assert 'aria-label="Learning rate"' in _page(rows)
    curves = {(v, "a"): rows for v in ("base", "other")}
    assert not any("each run" in f.caption.lower() for f in sweep_figures("ap50", curves))


@pytest.mark.parametrize("grouped", [False, True])
def test_a_sweep_draws_every_component_group_by_group(grouped: bool) -> None:
    curves = {(v, str(s)): _rows(s) for v in ("a light", "a heavy", "b light") for s in (0, 1)}
    groups = {"a": {"a light": "light", "a heavy": "heavy"}, "b": {"b light": "light"}}
    figures = sweep_figures("ap50", curves, groups if grouped else None)
    axes = MatplotlibFigure().subplots()
    figures[0].draw(axes)
    called = [text.get_text() for text in axes.get_legend().get_texts()]
    assert called == (["light", "heavy"] if grouped else ["a light", "a heavy", "b light"])
    names = ["AP at IoU .5 on validation", "Validation loss"]
    names += ["Validation loss, box", "Validation loss, class"]
    expected = [f"{n}: {g}" for n in names for g in "ab"] if grouped else names
    assert [figure.title for figure in figures] == expected
    assert all("<svg" in figure.svg for figure in figures)
    table = pd.DataFrame(
        [
            {"variant": "a light", "runs": 2, "value": 0.4, "low": 0.3, "high": 0.5},
            {
                **{"variant": "<b>", "runs": 2, "value": 0.5, "low": 0.4, "high": 0.6},
                **{"difference": 0.1, "difference_low": 0.05, "difference_high": 0.15},
                "verdict": "higher",
            },
        ]
    )
    html = sweep_page("recipe", table, figures, watched="ap50", part="test", same_parts=grouped)
    assert ("All runs have the same parts" in html) == grouped
    assert ("draws its own split" in html) != grouped
    assert "baseline" in html
    assert "0.050 to 0.150" in html
    assert "<b>" not in html


def test_published_figures_stand_beside_numbers_that_we_have() -> None:
    assert set(PUBLISHED) == {"rsna", "siim-covid", "siim-acr", "nih"}
    every = [one for figures in PUBLISHED.values() for one in figures]
    assert {one.ours for one in every} <= METRICS.keys()
    assert {one.system for one in every} == {"A", "B", "D", "E"}
    augmentations = [o.value for o in PUBLISHED["rsna"] if "augmentation" in o.model]
    assert augmentations == [".2461", ".2544", ".2502", ".2556", ".2610"]  # A15


@pytest.mark.parametrize(
    ("name", "finding", "original"),
    [
        ("rsna", "opacity", "rsna"),
        ("rsna_128", "opacity", "rsna"),
        ("siim_covid_256", "opacity", "siim-covid"),
        ("nih_128", "pneumothorax", "siim-acr"),
        ("nih_128", "nih_Mass", "nih"),
        ("shenzhen_512", "tuberculosis", None),
    ],
)
def test_a_smaller_copy_stands_beside_what_was_published_on_its_set(
    name: str, finding: str, original: str | None
) -> None:
    assert published_of(name, finding) == (PUBLISHED[original] if original else ())


def test_a_number_that_is_0_by_0_is_called_undefined_and_one_that_is_not_there_a_dash() -> None:
    template = '{% from "macros.html" import number %}{{ number(value) }}'
    for value, shown in ((float("nan"), "undefined"), (None, "–"), (0.0, "0.000")):
        assert _environment().from_string(template).render(value=value) == shown
