"""Doors of what models are described by: bundles (zip, folder), pipelines, recipes."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from helpers.fuzzing.door import Door, mutated, mutations
from helpers.fuzzing.trees import JSON_RAW, TEXTS, changed, filled, written, yaml_shape
from hilum.core.bundle import MANIFEST, SEAL
from hilum.core.findings import Findings
from hilum.core.radiograph import Radiograph
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline

Members = list[tuple[str, bytes]]


@cache
def radiograph() -> Radiograph:
    rows, columns = np.mgrid[:96, :80].astype(np.float32)
    return Radiograph((rows + columns) / (96 + 80))


def check_findings(findings: Findings) -> None:
    """What is found is on the image, and every number is one."""
    boxes, sides = findings.boxes_px, [findings.width, findings.height]
    assert np.isfinite(boxes).all()
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= sides).all()  # noqa: PT018
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    scores = [*findings.scores.tolist(), *findings.image_scores.values()]
    assert all(0 <= score <= 1 for score in scores), scores
    for mask in findings.masks.values():
        assert mask.shape == (findings.height, findings.width)


# --- Bundles ------------------------------------------------------------------------------------


@cache
def toy_members() -> tuple[tuple[str, bytes], ...]:
    from helpers.toy import write_toy

    with tempfile.TemporaryDirectory() as folder:
        bundle = write_toy(
            Path(folder, "toy.zip"),
            calibration={
                "class_temperature": 1.5,
                "scores": {
                    "box": [{"kind": "temperature", "temperature": 2.0}],
                    "opacity": [
                        {"kind": "isotonic", "scores": [0.1, 0.5], "probabilities": [0.0, 0.9]},
                        {"kind": "logistic", "slope": 1.5, "shift": -0.5},
                    ],
                },
            },
            figures={"ap": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "on": "test"}},
            data_licences=[{"name": "a", "licence": "CC0"}],
        )
        return tuple(_members(bundle.path.read_bytes()) or ())


def _members(data: bytes) -> Members | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # noqa: BLE001  a damaged zip is for the door to refuse
        return None


def _zipped(members: Members) -> bytes:
    import warnings

    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # zipfile's own, about names that stand twice
        for name, content in members:
            archive.writestr(
                zipfile.ZipInfo(name.encode(errors="replace").decode() or "x"), content
            )
    return out.getvalue()


@cache
def _bundle_seeds() -> list[bytes]:
    return [_zipped(list(toy_members()))]


def _bundle_shape(rng: random.Random, data: bytes) -> bytes:
    members = dict(_members(data) or toy_members())
    kind = rng.randrange(10)
    raws: list[str] = []
    tree = json.loads(members[MANIFEST])
    if kind < 6:
        tree = changed(rng, tree, raws, JSON_RAW)
    elif kind < 8:
        members["model.onnx"] = _graph(rng, members["model.onnx"])
    elif kind == 8:
        members[rng.choice(list(members))] = rng.choice(
            (b"", b"\x80\x04K\x01.", b"PK\x03\x04", data)
        )
    else:
        members[rng.choice((*TEXTS[:20], "../x.md", "a.py", "b.onnx"))] = b"x"
    if isinstance(tree, dict):
        if isinstance(tree.get("files"), dict) and rng.random() < 0.8:  # or it is found out at once
            listed = tree["files"]
            for name in set(listed) & set(members):
                listed[name] = hashlib.sha256(members[name]).hexdigest()
        tree.pop(SEAL, None)
        if rng.random() < 0.5:
            text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
            tree[SEAL] = hashlib.sha256(text.encode()).hexdigest()

    text = filled(json.dumps(tree, ensure_ascii=rng.random() < 0.5), raws)
    members[MANIFEST] = written(rng, text) if kind < 6 else text.encode(errors="surrogatepass")
    return _zipped(list(members.items()))


def _graph(rng: random.Random, content: bytes) -> bytes:
    """Bytes, or what the graph says: operators, shapes, attributes, constants."""
    if rng.random() < 0.3:
        return mutated(content, mutations(rng))
    import onnx

    model = onnx.load_model_from_string(content)
    graph = model.graph
    for _ in range(rng.choice((1, 1, 2))):
        kind = rng.randrange(7)
        node = rng.choice(graph.node)
        if kind == 0:
            node.op_type = rng.choice(("Add", "Exp", "Log", "Div", "Loop", "Nothing", "Identity"))
        elif kind == 1:
            node.input[rng.randrange(len(node.input))] = rng.choice(("", "image", "axes", "nobody"))
        elif kind == 2 and node.attribute:
            one = rng.choice(node.attribute)
            one.i = rng.choice((-1, 0, 2**40))
            if one.ints:
                one.ints[rng.randrange(len(one.ints))] = rng.choice((-1, 0, 2**31, 10**6))
        elif kind == 3:
            tensor = rng.choice(graph.initializer)
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((-1, 0, 1, 2**33, 10**9))
        elif kind == 4:
            tensor = rng.choice(graph.initializer)
            raw = bytearray(tensor.raw_data)
            special = rng.choice((b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\x7f\x7f"))
            at = rng.randrange(max(1, len(raw) // 4)) * 4
            raw[at : at + 4] = special
            tensor.raw_data = bytes(raw)
        elif kind == 5:
            shape = rng.choice((*graph.output, *graph.input)).type.tensor_type.shape
            if shape.dim:
                rng.choice(shape.dim).dim_value = rng.choice((0, 1, 7, 2**33))
        else:
            model.ir_version = rng.choice((0, 3, 99, 2**40))
    return bytes(model.SerializeToString())


@cache
def _default_pipeline() -> Pipeline:
    return Pipeline.load("default")


def _run_bundle(path: Path) -> str:
    described = _default_pipeline().with_bundle(path).model_copy(update={"gates": ()})
    loaded = LoadedPipeline(described).opened()
    check_findings(loaded(radiograph()))
    return "read"


def _bundle_zip(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "b.zip")
        path.write_bytes(data)
        outcome = _run_bundle(path)
        assert [one.name for one in Path(folder).iterdir()] == ["b.zip"]  # nothing is unpacked
        return outcome


def _bundle_folder(data: bytes) -> str:
    members = _members(data)
    if members is None:
        members = [*dict(toy_members()).items(), (MANIFEST, data)]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in members:
            if name and len(name) < 100 and not set(name) & set("/\0") and name not in ("..", "."):
                Path(folder, name.encode(errors="replace").decode()).write_bytes(content)
        return _run_bundle(Path(folder))


# --- Pipelines ----------------------------------------------------------------------------------

_TOY_PIPELINES = (
    """
schema: hilum.pipeline/2
name: toy
models:
  a: {bundle: toy.zip, views: [plain, flip, {scale: 0.8}], decoding: {score_floor: 0.1}}
masks:
  lungs:
    - {use: map, of: a}
    - threshold
boxes:
  - {use: boxes, of: a}
  - {use: nms, iou: 0.4}
scores:
  - {use: scores, of: a}
study: {use: max}
window: [100, 200]
thresholds: {boxes: 0.2}
operating_points:
  mine: {threshold: 0.4, reason: "a test", score: opacity}
calibration:
  scores: {opacity: [{kind: temperature, temperature: 2}]}
""",
    """
schema: hilum.pipeline/2
name: two
about: |
  One that decides
  whether the other is asked.
gates: [header, {use: minimum-size, pixels: 32}]
models:
  gate: {bundle: toy.zip}
  b: {bundle: toy.zip, when: {score: gate.opacity, at: 0.1}, calibration: {class_temperature: 2.0}}
boxes:
  - {use: weighted-boxes, of: {gate: 1, b: 2}, iou: 0.5}
scores:
  - {use: scores, of: gate, only: [opacity]}
thresholds: {boxes: gate.default}
""",
)


@cache
def _pipeline_folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    Path(folder.name, "toy.zip").write_bytes(_bundle_seeds()[0])
    return folder


@cache
def _pipeline_seeds() -> list[bytes]:
    from hilum.inference.pipeline import shipped_pipelines

    shipped = [path.read_bytes() for path in shipped_pipelines().values()]
    return [text.encode() for text in _TOY_PIPELINES] * 3 + shipped


def _pipeline(data: bytes) -> str:
    path = Path(_pipeline_folder().name, "p.yaml")
    path.write_bytes(data)
    described = Pipeline.load(path)
    described.flows()
    again = Pipeline.model_validate(described.model_dump(mode="json", by_alias=True))
    assert again == described  # what is kept of it is all of it
    paths = [place for spec in described.models.values() for place in spec.paths or ("",)]
    if all(Path(place).name == "toy.zip" for place in paths):
        check_findings(LoadedPipeline(described).opened()(radiograph()))
    return "read"


# --- Recipes ------------------------------------------------------------------------------------


@cache
def _recipe_seeds() -> list[bytes]:
    from hilum.train.recipe import recipe_folder

    own = sorted(recipe_folder().glob("[a-z]*.yaml"))[::6]
    default = recipe_folder() / "default.yaml"
    return [path.read_bytes() for path in (*own, default, default)]


def _recipe(data: bytes) -> str:
    from hilum.train.recipe import load_recipe, parse

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "r.yaml")
        path.write_bytes(data)
        recipe = load_recipe(str(path))
        again = parse(
            yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)), "again"
        )
    assert again == recipe
    for stage in recipe.stages:
        assert recipe.size_of(stage) <= 4096
        assert all(share >= 0 for share in (recipe.mix_of(stage) or {}).values())
    assert recipe.spec.size == recipe.preprocessing.size
    return "read"


MODELS: dict[str, Door] = {
    "bundle, zip": Door(_bundle_seeds, _bundle_zip, shape=_bundle_shape),
    "bundle, folder": Door(_bundle_seeds, _bundle_folder, shape=_bundle_shape),
    "pipeline": Door(_pipeline_seeds, _pipeline, shape=yaml_shape),
    "recipe": Door(_recipe_seeds, _recipe, shape=yaml_shape),
}
