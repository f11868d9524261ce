"""Heat maps of results, computed when somebody asks for one: what the score rests on.

Work like any other, behind every analysis that waits: a worker hides one part of the image after
the other (`hilum.explain.occlusion`) and keeps the map beside the result. How finely it looks
follows from how long the network takes, so that no map holds a worker up for long.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from sqlalchemy.orm import Session

from hilum.core.errors import HilumError
from hilum.explain.heat import Heat
from hilum.explain.occlusion import occlusion
from hilum.inference.predictor import Predictor
from hilum.serve.records import hashed
from hilum.serve.tables import Image, Result, Work
from hilum.serve.work import EXPLAIN

if TYPE_CHECKING:
    from hilum.core.radiograph import Radiograph
    from hilum.inference.loaded import LoadedPipeline
    from hilum.serve.service import Service

SHOWN = "opacity"  # the score of the worklist
HEAT, FILE = "heat", "heat.json"
BEHIND = -1  # priority: every analysis comes first
LIMIT_S = 20.0  # of one map
FEWEST, MOST = 4, 10  # positions a side
SIDE = 96  # px of the map: the network's own grid is coarser


class NoHeatMap(HilumError):
    """No map can be made of this result."""


def ask(service: Service, session: Session, result: Result) -> bool:
    """A map of a result is to be made; False where it is there or was asked for before."""
    if HEAT in result.files:
        return False
    queue, details = service.queue, {"result": result.id}
    return queue.add(
        session, EXPLAIN, result.image, key=result.id, priority=BEHIND, details=details
    ) or queue.again(session, EXPLAIN, result.image, result.id)


def explain(service: Service, work: Work) -> None:
    """Make the map and keep it; or say in the history why there is none.

    Raises:
        HilumError: the store or the records are away; the work is still there.
    """
    with service.records.read() as session:
        result = session.get_one(Result, work.details["result"])
    data = service.store.read(work.subject)
    try:
        loaded = service.pipelines.loaded(result.pipeline)
        radiograph = service.opened(work.subject, data).radiograph(window=loaded.window)
        content = json.dumps(to_json(*heat_of(loaded, radiograph))).encode()
    except HilumError as error:
        with service.records.write() as session:
            given_up(service, session, work, str(error))
            service.queue.finish(session, work, "failed", str(error))
        return
    size = service.store.keep_result(result.id, {FILE: content})
    with service.records.write() as session:
        kept = session.get_one(Result, result.id)
        kept.files, kept.bytes = kept.files | {HEAT: FILE}, kept.bytes + size
        _say(service, session, work, f"heat map of {result.pipeline} made")
        service.queue.finish(session, work)


def why_not(service: Service, result: Result) -> str | None:
    """Why no map could be made; None where none was asked for, or it is on its way."""
    with service.records.read() as session:
        work = session.get(Work, hashed(EXPLAIN, result.image, result.id))
    return work.reason if work is not None and work.state == "failed" else None


def heat_of(loaded: LoadedPipeline, radiograph: Radiograph) -> tuple[Heat, str]:
    """The map, and the name of the bundle that was asked: the first one with a score.

    Raises:
        NoHeatMap: no bundle has a score, or it takes too long.
    """
    paths = [path for spec in loaded.description.models.values() for path in spec.paths]
    for bundle in (loaded.bundles[path] for path in paths):
        manifest = bundle.manifest
        if manifest.positive or manifest.image_scores or manifest.has_boxes:
            predictor = Predictor(bundle, threads=loaded.threads)
            steps = _steps(predictor, radiograph)
            name = SHOWN if SHOWN in manifest.image_scores else None  # as analysis shows it
            return occlusion(predictor, radiograph, name, steps=steps), bundle.name
    raise NoHeatMap("this pipeline has no score that a map could be made of")


def _steps(predictor: Predictor, radiograph: Radiograph) -> int:
    """Positions a side that can be asked about within the limit."""
    seconds = []
    for _ in range(3):  # the first answer of a graph takes longer, and others use the machine too
        begun = time.perf_counter()
        predictor(radiograph)
        seconds.append(time.perf_counter() - begun)
    steps = int((LIMIT_S / min(seconds)) ** 0.5)
    if steps < FEWEST:
        raise NoHeatMap(f"its network is too slow here: a map would take over {LIMIT_S:.0f} s")
    return min(steps, MOST)


def to_json(heat: Heat, bundle: str) -> dict[str, Any]:
    """The fields of `web.shapes.Heat`."""
    shown = heat.shown()
    scale = min(1.0, SIDE / max(shown.shape))
    size = max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale))
    small = np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_AREA))
    return {
        "bundle": bundle,
        "method": heat.method,
        "score": heat.score_name,
        "value": round(heat.score, 4),
        "strongest": round(max(0.0, float(heat.grid.max(initial=0.0))), 4),
        "positions": heat.grid.size,
        "map": np.rint(small * 255).astype(int).tolist(),
    }


def given_up(service: Service, session: Session, work: Work, why: str) -> None:
    """A result without a map is a result."""
    _say(service, session, work, f"no heat map: {why}")


def _say(service: Service, session: Session, work: Work, what: str) -> None:
    image = session.get_one(Image, work.subject)
    service.records.say(session, image.id, image.state, what)
