"""One radiograph through several texts of one pipeline: networks answer once, each text concludes.

For choosing a number of a stage on validation images. Knows no catalog and no metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hilum.core.findings import Findings
from hilum.core.prediction import Prediction
from hilum.core.radiograph import Radiograph
from hilum.dicom.stored import StoredImage
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.predictor import Model
from hilum.inference.text import ModelSpec


class Variants:
    """`Variants(texts)(image)`: the findings of each text, in their order.

    Gates and window are those of the first text.
    """

    def __init__(self, texts: Sequence[Pipeline], *, threads: int = 1) -> None:
        """
        Args:
            texts: at least one.

        Raises:
            BundleError: a bundle is missing or damaged.
            ConfigError: a text whose bundles do not fit.
        """
        self.first = LoadedPipeline(texts[0], threads=threads)
        ungated = (text.model_copy(update={"gates": ()}) for text in texts)
        bundles = self.first.bundles
        self.loaded = [LoadedPipeline(one, threads=threads, bundles=bundles) for one in ungated]
        networks: dict[str, _AskedOnce] = {}
        for one in self.loaded:
            keys = {name: _network(spec) for name, spec in one.description.models.items()}
            for name, key in keys.items():
                if key not in networks:
                    networks[key] = _AskedOnce(one.models[name])
            one.models = {name: networks[key] for name, key in keys.items()}

    def __call__(self, stored: StoredImage) -> Iterator[Findings]:
        """
        Raises:
            InputRefused: a gate refuses the image, or it cannot be read.
            ModelOutputError: a model gave numbers that mean nothing.
        """
        self.first.check_header(stored)
        radiograph = stored.radiograph(window=self.first.window)
        self.first.check_pixels(radiograph)
        for one in self.loaded:
            yield one.findings(radiograph)


class _AskedOnce:
    """A model that remembers its answer to the last radiograph."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.last: tuple[Radiograph, Prediction] | None = None

    def __call__(self, radiograph: Radiograph) -> Prediction:
        if self.last is None or self.last[0] is not radiograph:
            self.last = radiograph, self.model(radiograph)
        return self.last[1]


def _network(spec: ModelSpec) -> str:
    """What decides a model's answer: all of its text but when it is asked."""
    return spec.model_copy(update={"when": None}).model_dump_json()
