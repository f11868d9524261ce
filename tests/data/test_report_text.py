"""What sentences of reports say of a finding; truths as a radiologist would read them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.core.errors import ConfigError
from hilum.data.report_text import label_report

YES, NO, DOUBT = 1.0, 0.0, math.nan
SENTENCES: list[tuple[str, dict[str, float]]] = [
    (
        "Without evidence of pneumothorax, small effusion persists.",
        {"pneumothorax": NO, "effusion": YES},
    ),
    ("No pneumothorax, the left effusion has decreased.", {"pneumothorax": NO, "effusion": YES}),
    (
        "No effusion, pneumothorax or consolidation remains.",
        {"effusion": NO, "pneumothorax": NO, "consolidation": NO},
    ),
    (
        "No pneumonia, effusion or consolidation is seen.",
        {"pneumonia": NO, "effusion": NO, "consolidation": NO},
    ),
    # plain
    ("There is a right pneumothorax.", {"pneumothorax": YES}),
    ("Small left pleural effusion.", {"effusion": YES}),
    ("Patchy opacities in both lower zones.", {"opacity": YES}),
    ("Consolidation in the right lower lobe.", {"consolidation": YES, "opacity": YES}),
    ("Findings consistent with pneumonia.", {"pneumonia": YES}),
    ("Bilateral ground-glass opacities.", {"ground-glass": YES, "opacity": YES}),
    ("COVID-19 pneumonia, typical appearance.", {"covid-19": YES, "pneumonia": YES}),
    ("Large hydropneumothorax on the left.", {"pneumothorax": YES}),
    ("Dense opacification of the left hemithorax.", {"opacity": YES}),
    ("Multifocal airspace disease.", {"opacity": YES}),
    ("New infiltrate at the right base.", {"opacity": YES}),
    ("Bilateral effusions, right greater than left.", {"effusion": YES}),
    # denied before
    ("No pneumothorax.", {"pneumothorax": NO}),
    ("No focal consolidation.", {"consolidation": NO}),
    ("No evidence of pneumonia.", {"pneumonia": NO}),
    (
        "The lungs are clear without consolidation or effusion.",
        {"consolidation": NO, "effusion": NO},
    ),
    ("No pleural effusion or pneumothorax.", {"effusion": NO, "pneumothorax": NO}),
    (
        "No consolidation, pleural effusion or pneumothorax.",
        {"consolidation": NO, "effusion": NO, "pneumothorax": NO},
    ),
    ("There is no pneumothorax.", {"pneumothorax": NO}),
    ("Neither effusion nor pneumothorax is seen.", {"effusion": NO, "pneumothorax": NO}),
    ("Negative for pneumonia.", {"pneumonia": NO}),
    ("The lungs are free of infiltrates.", {"opacity": NO}),
    ("Absence of pleural effusion.", {"effusion": NO}),
    ("The radiograph rules out pneumothorax.", {"pneumothorax": NO}),
    ("Clear lungs with no opacities.", {"opacity": NO}),
    # denied after
    ("Pneumothorax is not seen.", {"pneumothorax": NO}),
    ("Pleural effusion: none.", {"effusion": NO}),
    ("Pneumonia has been excluded.", {"pneumonia": NO}),
    ("The pneumothorax has resolved.", {"pneumothorax": NO}),
    ("The consolidation is no longer seen.", {"consolidation": NO}),
    ("Pneumonia is unlikely.", {"pneumonia": NO}),
    ("Effusions are absent.", {"effusion": NO}),
    ("Interval resolution of the previously seen left pneumothorax.", {"pneumothorax": NO}),
    ("Clearing of the right basal consolidation.", {"consolidation": NO}),
    ("Resolved pleural effusion.", {"effusion": NO}),
    # the negation is of something else
    ("No change in the pneumothorax.", {"pneumothorax": YES}),
    ("No interval change in the left effusion.", {"effusion": YES}),
    ("No significant change in bilateral opacities.", {"opacity": YES}),
    ("Unchanged right pleural effusion.", {"effusion": YES}),
    ("The pneumothorax has not resolved.", {"pneumothorax": YES}),
    ("The effusion is not changed.", {"effusion": YES}),
    ("No improvement of the consolidation.", {"consolidation": YES}),
    ("No resolution of the pneumothorax.", {"pneumothorax": YES}),
    ("Partial resolution of the left effusion.", {"effusion": YES}),
    ("Near-complete interval clearing of the effusion.", {"effusion": YES}),
    ("Partially resolved pneumothorax.", {"pneumothorax": YES}),
    ("Without change to the known pneumothorax.", {"pneumothorax": YES}),
    ("No doubt about a pneumothorax.", {"pneumothorax": YES}),
    ("Stable small effusion.", {"effusion": YES}),
    ("Not only effusion, also consolidation.", {"effusion": YES, "consolidation": YES}),
    # a new statement ends the scope
    ("No pneumothorax, but a small effusion.", {"pneumothorax": NO, "effusion": YES}),
    ("No effusion; consolidation at the left base.", {"effusion": NO, "consolidation": YES}),
    ("No consolidation, however there is an effusion.", {"consolidation": NO, "effusion": YES}),
    ("No pneumothorax and a small effusion.", {"pneumothorax": NO, "effusion": YES}),
    ("No abnormality except for a left effusion.", {"effusion": YES}),
    ("Apart from a small pneumothorax no abnormality.", {"pneumothorax": YES}),
    ("Consolidation without effusion.", {"consolidation": YES, "effusion": NO}),
    ("Lobar consolidation with no pneumothorax.", {"consolidation": YES, "pneumothorax": NO}),
    ("No pneumothorax. Moderate right effusion.", {"pneumothorax": NO, "effusion": YES}),
    # doubt
    ("Pneumonia cannot be excluded.", {"pneumonia": DOUBT}),
    ("Cannot exclude a small pneumothorax.", {"pneumothorax": DOUBT}),
    ("Possible left lower lobe pneumonia.", {"pneumonia": DOUBT}),
    ("Opacity that may represent pneumonia.", {"opacity": YES, "pneumonia": DOUBT}),
    ("Findings suspicious for pneumonia.", {"pneumonia": DOUBT}),
    ("Questionable small effusion.", {"effusion": DOUBT}),
    ("No definite pneumothorax.", {"pneumothorax": DOUBT}),
    ("Early consolidation is possible.", {"consolidation": DOUBT}),
    ("A small effusion is not excluded.", {"effusion": DOUBT}),
    ("Pneumonia versus atelectasis.", {"pneumonia": DOUBT}),
    ("Pneumothorax?", {"pneumothorax": DOUBT}),
    ("It is difficult to exclude an effusion.", {"effusion": DOUBT}),
    # not about this image
    ("History of pneumonia.", {}),
    ("Indication: rule out pneumothorax.", {}),
    ("Heart size is normal.", {}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "want"), SENTENCES)
def test_a_sentence_says(text: str, want: dict[str, float]) -> None:
    got = {name: one.value for name, one in label_report(text).items()}
    extra = {"opacity": YES} if want.get("consolidation") == YES else {}
    assert {k: str(v) for k, v in got.items()} == {k: str(v) for k, v in (extra | want).items()}


def test_the_sentence_that_decided_is_kept_and_presence_wins() -> None:
    text = "No pneumothorax on the left. Findings:\nSmall right pneumothorax. Pneumothorax?"
    found = label_report(text)["pneumothorax"]
    assert (found.value, found.sentence) == (YES, "Small right pneumothorax.")


def test_there_are_enough_and_hard_ones() -> None:
    assert len(SENTENCES) >= 60


def test_a_table_of_reports_becomes_weak_labels_with_their_sentences(tmp_path: Path) -> None:
    reports, out = tmp_path / "reports.csv", tmp_path / "weak.csv"
    rows = [
        ("a", "Small right pneumothorax. No effusion."),
        ("b", "Pneumonia cannot be excluded."),
        ("c", ""),
    ]
    pd.DataFrame(rows, columns=["study", "report"]).to_csv(reports, index=False)
    words = ["data", "label-reports", str(reports), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)
    assert (counts["reports"], counts["blank"]) == (3, 1)
    assert counts["findings"]["pneumonia"] == {"present": 0, "absent": 0, "doubt": 1}
    table = pd.read_csv(out).set_index("study")
    assert table["weak"].tolist() == [1, 1, 1]
    assert table.loc["a", ["label_pneumothorax", "label_effusion"]].tolist() == [1, 0]
    assert table.loc["a", "said_effusion"] == "No effusion."
    assert math.isnan(table.loc["b", "label_pneumonia"])
    assert table.loc["b", "said_pneumonia"] == "Pneumonia cannot be excluded."
    assert table.loc["c"].filter(like="label_").isna().all()
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, ConfigError)  # never over labels that are there


def test_a_wrapped_line_is_no_end_of_a_sentence() -> None:
    text = (
        "There is no focal consolidation, pleural effusion or\n pneumothorax.\nNo opacity\nEffusion"
    )
    says = {name: one.says for name, one in label_report(text).items()}
    assert says["pneumothorax"] == says["opacity"] == "absent"
    assert says["effusion"] == "present"  # lines without a full stop are sentences of their own


def test_what_a_report_asks_and_compares_is_no_finding() -> None:
    text = "INDICATION:  Cough. Pneumonia?\n\n COMPARISON: Pneumothorax on ___.\n\n"
    assert label_report(text) == {}
    for rest in ("FINDINGS: There is an effusion.", "There is an effusion."):
        assert label_report(text + rest)["effusion"].says == "present"
        assert set(label_report(text + rest)) == {"effusion"}
