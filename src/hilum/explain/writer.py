"""`hilum predict --write explain`: what the score of each image rests on, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from hilum.core.options import Options

if TYPE_CHECKING:
    from hilum.dicom.analysed import Analysed
    from hilum.inference.predictor import Predictor


class ExplainWriter(Options):
    """PNG. Occlusion asks a bundle some two hundred times for each image: seconds, not more."""

    suffix: ClassVar[str] = ".png"
    bundle: str = ""  # a folder or zip; "" for the shipped one
    score: str | None = None
    method: Literal["occlusion", "class-activation"] = "occlusion"
    steps: int = Field(default=14, ge=4, le=64)  # of occlusion

    def __call__(self, image: Analysed) -> Mapping[str, bytes]:
        from hilum.explain.activation import METHOD, class_activation
        from hilum.explain.occlusion import occlusion
        from hilum.explain.picture import picture

        radiograph, findings = image.radiograph, image.result.findings
        if findings is None:
            return {}
        model = predictor(self.bundle)
        if self.method == METHOD:
            heat = class_activation(model, radiograph, self.score)
        else:
            heat = occlusion(model, radiograph, self.score, steps=self.steps)
        drawn = picture(
            heat, radiograph, findings, of=model.bundle.name, found_by=image.pipeline.name
        )
        return {"explain": drawn}


@cache
def predictor(bundle: str) -> Predictor:
    """Opened once in a process."""
    from hilum.core.bundle import DEFAULT, open_bundle
    from hilum.inference.predictor import Predictor

    return Predictor(open_bundle(bundle or DEFAULT))
