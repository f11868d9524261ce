"""Class activation maps (Zhou et al. 2016): what each place adds to a classifier's logit.

Exact where a mean over places and one linear layer make the logit, and then a head of the bundle
(`Outputs.activations`): one answer of ONNX Runtime is enough.
"""

from __future__ import annotations

import numpy as np

from hilum.core.errors import ConfigError
from hilum.core.manifest import Manifest
from hilum.core.prepare import prepare
from hilum.core.radiograph import Radiograph
from hilum.explain.heat import Heat
from hilum.explain.occlusion import score_of
from hilum.inference.predictor import Predictor

METHOD = "class-activation"


def class_activation(
    predictor: Predictor, radiograph: Radiograph, score: str | None = None
) -> Heat:
    """What the logit of one score of one image is made of, place by place.

    Args:
        score: an image score of the bundle; None: its positive one.

    Raises:
        ConfigError: the bundle has no such score, or no such head.
    """
    name = score_of(predictor, score)
    places = _places(predictor.bundle.manifest, name)
    image, frame = prepare(radiograph, predictor.preprocessing)
    raw = predictor.session.run(image)
    assert raw.activations is not None  # the session has checked what the manifest says
    return Heat(
        score_name=name,
        score=predictor.decoder(raw, frame).image_scores[name],
        method=METHOD,
        grid=np.asarray(raw.activations[places].sum(axis=0), np.float32),
        frame=frame,
    )


def _places(manifest: Manifest, score: str) -> list[int]:
    """Rows of the head: those of all classes that make up the score."""
    if manifest.outputs.activations is None or score not in manifest.image_scores:
        raise ConfigError(
            f"bundle {manifest.name!r} has no class activations of {score!r}; needed: a classifier "
            "of one linear layer, exported by this version. --method occlusion asks any bundle"
        )
    classes = manifest.global_classes if manifest.outputs.global_logits else manifest.findings
    of = manifest.image_scores[score]
    return [classes.index(one) for one in ((of,) if isinstance(of, str) else of)]
