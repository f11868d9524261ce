"""Operating points and calibration of a pipeline: its own ones, or those of the bundles behind it.

Points of one model are not taken for scores that rest on several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hilum.core.errors import ConfigError
from hilum.core.manifest import BOX, NO_DATA, Calibration, OperatingPoint
from hilum.core.options import unknown
from hilum.inference.stages.base import Facts
from hilum.inference.text import Flows, PipelineText


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a pipeline's text and its models' manifests say of scores."""

    description: PipelineText
    flows: Flows
    facts: Mapping[str, Facts]  # model -> what its bundle is

    def operating_points(self) -> dict[str, OperatingPoint]:
        """The points that stand beside scores, by name; the first is that of the boxes.

        Raises:
            ConfigError: no such point, or one for another score.
        """
        wanted, points = self.description.thresholds, dict[str, OperatingPoint]()
        if self.flows.boxes and isinstance(wanted.boxes, str):
            points[wanted.boxes] = self._point("boxes", wanted.boxes)
        elif self.flows.boxes:
            points["given"] = OperatingPoint(
                threshold=float(wanted.boxes), reason="given", chosen_on=NO_DATA
            )
        for name in wanted.images:
            points[name] = self._point("images", name)
        return points

    def _point(self, flow: str, name: str) -> OperatingPoint:
        known = dict(self.description.operating_points)
        sources = self._sources(flow)
        if len(sources) == 1:
            known = dict(self.facts[sources[0]].manifest.operating_points) | known
        for model in self.facts:
            points = self.facts[model].manifest.operating_points
            known |= {f"{model}.{name}": point for name, point in points.items()}
        where = f"pipeline {self.description.name}: thresholds"
        if name not in known:
            more = (
                f" {flow} rest on {' and '.join(sources)}: points of one of them were not chosen "
                "for all. Give a number, write `operating_points`, or name one as MODEL.POINT."
                if len(sources) > 1
                else ""
            )
            raise ConfigError(f"{where}: {unknown('operating point', name, known)}{more}")
        if (known[name].score == BOX) != (flow == "boxes"):
            raise ConfigError(
                f"{where}: operating point {name!r} is for the score {known[name].score!r}; "
                "`boxes` takes one for 'box', `images` one for others"
            )
        return known[name]

    def _sources(self, flow: str) -> list[str]:
        """The models on which boxes or image scores rest."""
        if flow == "boxes":
            needs = [stage.needs() for stage in self.flows.boxes]
            return list(dict.fromkeys(model for one in needs for model in one.boxes))
        needs = [stage.needs() for stage in self.flows.scores]
        return list(dict.fromkeys(model for one in needs for model in one.models))

    def study_maps(self) -> Calibration:
        own = self.description.calibration
        if own is None:
            sources = self._sources("scores")
            single = len(sources) == 1 and len(self.description.models[sources[0]].paths) == 1
            own = self.facts[sources[0]].manifest.calibration if single else None
        fits = own is not None and own.study_how == self.flows.study.how
        return own if own is not None and fits else Calibration()

    def calibrated_on(self) -> str:
        own = self.description.calibration
        if own is not None:
            return own.fitted_on
        fitted = {
            name: facts.manifest.calibration.fitted_on
            for name, facts in self.facts.items()
            if facts.manifest.calibration is not None and facts.manifest.calibration.fitted_on
        }
        if len(self.facts) == 1:
            return next(iter(fitted.values()), "")
        return "; ".join(f"{name}: {on}" for name, on in fitted.items())
