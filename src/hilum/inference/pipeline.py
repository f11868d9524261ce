"""Pipelines from their texts: found, read, checked, and changed by what the user names.

Reading checks names, kinds and options; whether the bundles fit is checked when the pipeline is
loaded (check.py). Knows no image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from hilum.core.bundle import open_bundle, shipped, shipped_bundles
from hilum.core.documents import parse_yaml, read_document
from hilum.core.errors import ConfigError
from hilum.core.files import is_file
from hilum.core.options import assignment, checked, replaced, unknown
from hilum.core.radiograph import Window, check_window
from hilum.inference.check import check_text
from hilum.inference.stages import StageSpec
from hilum.inference.stages.base import MODEL
from hilum.inference.text import SCHEMA, ModelSpec, PipelineText, Thresholds


class Pipeline(PipelineText):
    """A pipeline as it runs: its text, with bundles from wherever they lie."""

    @classmethod
    def load(
        cls,
        source: Pipeline | str | os.PathLike[str] | None = None,
        changes: Sequence[str] = (),
    ) -> Pipeline:
        """A pipeline from a YAML file, one that comes with hilum by its name, or the default.

        Args:
            changes: of the text, "masks.lungs.1={use: threshold, at: 0.4}"; null leaves out.

        Raises:
            ConfigError: no such pipeline, not YAML, or a key, stage, option, model or kind that
                does not fit.
        """
        if isinstance(source, Pipeline):
            return source
        path = _find(source)
        raw = _read_yaml(path)
        for change in changes:
            raw = replaced(_spelled_out(raw), *assignment(change))
        pipeline = checked(cls, raw, str(path))
        check_text(pipeline, str(path))  # what is wrong is an error now, not at the first image
        return pipeline._resolved(path.parent)

    def to_yaml(self, folder: Path) -> str:
        """The text that loads as this pipeline from a file in `folder`."""
        tree = _flat(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))
        for owner in (*tree["models"].values(), *tree.get("gates", ())):
            if "bundle" in owner:
                owner["bundle"] = _relative(owner["bundle"], folder)
            if "bundles" in owner:
                owner["bundles"] = [_relative(path, folder) for path in owner["bundles"]]
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)

    def bundle_paths(self) -> Iterator[str]:
        """Every bundle, of models and of gates, once each, in the order of the text.

        Raises:
            ConfigError: a model without a bundle.
        """
        paths: dict[str, None] = {}
        for name, spec in self.models.items():
            if not spec.paths:
                raise ConfigError(f"pipeline {self.name}: {self.missing(name)}")
            paths |= dict.fromkeys(spec.paths)
        for gate in self.flows().gates:
            if hasattr(gate, "bundle"):
                paths[gate.bundle] = None
        return iter(paths)

    def missing(self, model: str) -> str:
        """What to do about a model without a bundle."""
        recipe = self.models[model].recipe
        remedy = f"train recipe {recipe} and export it, then name" if recipe else "name"
        return f"model {model!r} has no bundle; {remedy} it: --bundle {model}=PATH"

    def changed(
        self,
        *,
        precision: str | None = None,
        threshold: float | None = None,
        window: Window | None = None,
    ) -> Pipeline:
        """The same with another precision for all models, another threshold for boxes, or another
        window for reading."""
        update: dict[str, Any] = {}
        if precision is not None:
            if precision not in ("fp32", "int8"):
                raise ConfigError(unknown("precision", precision, ("fp32", "int8")))
            new = {"precision": precision}
            update["models"] = {n: spec.model_copy(update=new) for n, spec in self.models.items()}
        if threshold is not None:
            if not 0 <= threshold <= 1:
                raise ConfigError(f"threshold is {threshold}; needed: 0..1")
            update["thresholds"] = self.thresholds.model_copy(update={"boxes": threshold})
        if window is not None:
            check_window(window)
            update["window"] = window
        return self.model_copy(update=update)

    def with_bundles(self, paths: Mapping[str, Sequence[str | os.PathLike[str]]]) -> Pipeline:
        """The same with other bundles for models by name.

        Raises:
            ConfigError: no such model, or several bundles for one that does not combine.
        """
        models = dict(self.models)
        for name, given in paths.items():
            if name not in models:
                raise ConfigError(f"pipeline {self.name}: {unknown('model', name, models)}")
            if len(given) > 1 and models[name].combine is None:
                raise ConfigError(
                    f"pipeline {self.name}: model {name!r} takes one bundle, {len(given)} came; "
                    "to use several write `combine` into its text"
                )
            models[name] = models[name].with_paths(resolved(str(path), Path()) for path in given)
        return self.model_copy(update={"models": models})

    def with_named(self, words: Sequence[str]) -> Pipeline:
        """The same with bundles as the command line names them: "NAME=PATH", or a path alone.

        Raises:
            ConfigError: see `with_bundles` and `with_bundle`.
        """
        named: dict[str, list[str]] = {}
        changed = self
        for word in words:
            name, equals, path = word.partition("=")
            if equals and MODEL.fullmatch(name):
                named.setdefault(name, []).append(path)
            else:
                changed = changed.with_bundle(word)
        return changed.with_bundles(named)

    def with_bundle(self, path: str | os.PathLike[str]) -> Pipeline:
        """The same around one other bundle.

        The default pipeline takes whatever the bundle has: its boxes, masks and scores, and those
        of its own operating points that the bundle knows (boxes from .5 on without one).

        Raises:
            ConfigError: a pipeline of several models; they have names (`with_bundles`).
        """
        if len(self.models) > 1:
            raise ConfigError(
                f"pipeline {self.name} has the models {', '.join(self.models)}; name one: "
                "--bundle NAME=PATH"
            )
        (name,) = self.models
        if self.name != "default":
            return self.with_bundles({name: [path]})
        place = resolved(os.fspath(path), Path())
        manifest = open_bundle(place).manifest
        points, boxes = manifest.operating_points, self.thresholds.boxes
        known = not isinstance(boxes, str) or boxes in points
        take = {"of": name}
        update: dict[str, Any] = {
            "models": {name: ModelSpec(bundle=place)},
            "masks": {
                mask: (StageSpec(use="map", options=take), StageSpec(use="threshold"))
                for mask in manifest.masks
            },
            "boxes": (StageSpec(use="boxes", options=take),) if manifest.has_boxes else (),
            "scores": (StageSpec(use="scores", options=take),) if manifest.image_scores else (),
            "study": StageSpec(use="max"),
            "thresholds": Thresholds(
                boxes=boxes if known else 0.5,
                images=tuple(point for point in self.thresholds.images if point in points),
            ),
        }
        return self.model_copy(update=update)

    def _resolved(self, folder: Path) -> Pipeline:
        """Bundles relative to the folder of the text, but for those that come with hilum."""
        models = {
            name: spec.model_copy(
                update={
                    "bundle": spec.bundle and resolved(spec.bundle, folder),
                    "bundles": tuple(resolved(path, folder) for path in spec.bundles),
                }
            )
            for name, spec in self.models.items()
        }
        gates = tuple(
            gate.model_copy(
                update={
                    "options": gate.options | {"bundle": resolved(gate.options["bundle"], folder)}
                }
            )
            if "bundle" in gate.options
            else gate
            for gate in self.gates
        )
        return self.model_copy(update={"models": models, "gates": gates})


def resolved(path: str, folder: Path) -> str:
    """A bundle's place: a name that comes with hilum stays, a path is taken from `folder`."""
    return path if path in shipped_bundles() else str((folder / path).resolve())


def _relative(path: str, folder: Path) -> str:
    """The way back of `resolved`."""
    return path if path in shipped_bundles() else os.path.relpath(path, folder.resolve())


def _flat(tree: Any) -> Any:
    """Stages as a text has them: options beside `use`."""
    if isinstance(tree, dict):
        if "use" in tree:
            return {"use": tree["use"], **tree.get("options", {})}
        return {key: _flat(value) for key, value in tree.items()}
    return [_flat(one) for one in tree] if isinstance(tree, list) else tree


def _spelled_out(raw: dict[str, Any]) -> dict[str, Any]:
    """Stages that are no more than a name as {use: name}, so that an option of theirs can be set.

    What is no pipeline stays as it is: checking says what is wrong.
    """

    def stages(value: Any) -> Any:
        if isinstance(value, list):
            return [stages(one) for one in value]
        return {"use": value} if isinstance(value, str) else value

    def inside(value: Any, keys: Iterable[str] | None = None) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: stages(one) if keys is None or k in keys else one for k, one in value.items()}

    out = inside(raw, ("gates", "boxes", "scores", "study"))
    if "masks" in out:
        out["masks"] = inside(out["masks"])
    if isinstance(out.get("models"), dict):
        models = {name: inside(one, ("combine", "fuse")) for name, one in out["models"].items()}
        out["models"] = models
    return cast(dict[str, Any], out)


def shipped_pipelines() -> dict[str, Path]:
    """The pipelines that come with hilum, and with hilum-models where it is installed, by name."""
    folders = [place / "pipelines" for place in shipped("hilum.inference")]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def ready_pipelines() -> dict[str, Path]:
    """Those of them whose bundles come with hilum or hilum-models, too: they run as they are."""
    bundles = shipped_bundles()
    return {
        name: path
        for name, path in shipped_pipelines().items()
        if all(one.get("bundle") in bundles for one in _read_yaml(path)["models"].values())
    }


def _find(source: str | os.PathLike[str] | None) -> Path:
    name = "default" if source is None else os.fspath(source)
    if is_file(name):
        return Path(name)
    known = shipped_pipelines()
    if name in known:
        return known[name]
    raise ConfigError(f"there is no such pipeline file, and {unknown('pipeline', name, known)}")


def _read_yaml(path: Path) -> Any:
    raw = read_document(path, parse_yaml, ConfigError)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a pipeline is a mapping of keys, see the default one")
    if raw.get("schema") != SCHEMA:
        raise ConfigError(
            f"{path}: schema {raw.get('schema')!r}; needed: {SCHEMA}. Texts of an older schema are "
            "read no more; docs/pipelines.md shows the new one"
        )
    return raw
