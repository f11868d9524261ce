"""One bundle and one radiograph -> Prediction. Knows no file, pipeline or threshold."""

from __future__ import annotations

from typing import Protocol

from hilum.core.bundle import Bundle
from hilum.core.geometry import Letterbox
from hilum.core.prediction import Prediction
from hilum.core.prepare import prepare
from hilum.core.radiograph import Radiograph
from hilum.inference.decode import Decoder
from hilum.inference.session import RawOutputs, Session


class Model(Protocol):
    """Whatever answers a radiograph: one bundle, a mean of several, a view of either."""

    def __call__(self, radiograph: Radiograph) -> Prediction: ...


class Predictor:
    """`Predictor(bundle)(radiograph)`; one image at a time, nothing kept between images.

    Example:
        >>> from hilum.core.bundle import default_bundle
        >>> predictor = Predictor(default_bundle(), threads=2)  # doctest: +SKIP
        >>> prediction = predictor(radiograph)  # doctest: +SKIP
    """

    def __init__(self, bundle: Bundle, *, precision: str | None = None, threads: int = 1) -> None:
        self.bundle = bundle
        self.session = Session(bundle, precision, threads)
        self.decoder = Decoder(bundle.manifest)
        self.preprocessing = bundle.manifest.preprocessing.value()

    def raw(self, radiograph: Radiograph) -> tuple[RawOutputs, Letterbox]:
        """Raw heads and the map back to source pixels, as folds are averaged from."""
        image, box = prepare(radiograph, self.preprocessing)
        return self.session.run(image), box

    def __call__(self, radiograph: Radiograph) -> Prediction:
        """Every box above the bundle's floor, image scores and probability maps.

        Raises:
            ModelOutputError: the model gave numbers that mean nothing.
        """
        return self.decoder(*self.raw(radiograph))
