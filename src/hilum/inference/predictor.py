"""One bundle and one radiograph -> Findings. Knows no file, pipeline or threshold."""

from __future__ import annotations

from hilum.core.bundle import Bundle
from hilum.core.findings import Findings
from hilum.core.geometry import Letterbox
from hilum.core.prepare import prepare
from hilum.core.radiograph import Radiograph
from hilum.inference.decode import Decoder
from hilum.inference.session import RawOutputs, Session


class Predictor:
    """`Predictor(bundle)(radiograph)`; one image at a time, nothing kept between images.

    Example:
        >>> from hilum.core.bundle import default_bundle
        >>> predictor = Predictor(default_bundle(), threads=2)  # doctest: +SKIP
        >>> findings = predictor(radiograph)  # doctest: +SKIP
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

    def __call__(self, radiograph: Radiograph, *, masks: bool = True) -> Findings:
        """Every box above the bundle's floor, image scores, and masks at source size.

        Raises:
            ModelOutputError: the model gave numbers that mean nothing.
        """
        raw, box = self.raw(radiograph)
        return self.decoded(raw, box, radiograph, masks=masks)

    def decoded(
        self, raw: RawOutputs, box: Letterbox, radiograph: Radiograph, *, masks: bool = True
    ) -> Findings:
        """Findings of raw outputs, this bundle's or a mean over bundles of one network.

        Raises:
            ModelOutputError: the outputs do not fit the anchors.
        """
        findings = self.decoder(raw, box, masks=masks)
        if masks and radiograph.valid is not None:
            for mask in findings.masks.values():
                mask &= radiograph.valid  # nothing is outlined in borders and shutters
        return findings
