"""What is no prediction file is refused with what is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import DataError
from hilum.evaluate.prediction_files import read_predictions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ImageId,EncodedPixels\na,-1\n", "hilum evaluate challenge siim-acr"),
        ("id,label\na,0\n", "columns id, label; needed: patientId or id, and PredictionString"),
        ("name,PredictionString\na,\n", "columns name, PredictionString; needed: patientId"),
        ("patientId,PredictionString\na,\na,\n", "more than one row"),
    ],
)
def test_a_table_without_predictions_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "s.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_predictions(file)
