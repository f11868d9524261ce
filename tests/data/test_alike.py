"""Copies of an image are found whatever was done to them; different radiographs are none."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hilum.data import load
from hilum.data.alike import (
    NEGATIVE,
    THUMB,
    TURNS,
    _strengths,
    alike,
    shown_by,
    thumbnail,
    vectors,
)
from hilum.data.duplicates import compared, copies, fingerprints, joined
from hilum.data.phantom.phantom import phantom

GREY = phantom(3, 128, 160).pixels


def jpeg(grey: np.ndarray, quality: int) -> np.ndarray:
    held = BytesIO()
    Image.fromarray((grey * 255).astype(np.uint8)).save(held, "JPEG", quality=quality)
    return np.asarray(Image.open(held), np.float32) / 255


DONE = {
    "compressed": lambda grey: jpeg(grey, 30),
    "smaller": lambda grey: cv2.resize(grey, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
    "squashed": lambda grey: cv2.resize(grey, (96, 96), interpolation=cv2.INTER_AREA),
    "darker": lambda grey: grey * 0.5 + 0.1,
}


def pairs(*pictures_: np.ndarray) -> list[tuple[int, int, str]]:
    small = [thumbnail(np.ascontiguousarray(one, np.float32)) for one in pictures_]
    return list(alike(np.stack(small)))


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("done", DONE)
def test_a_copy_is_found(turn: str, done: str) -> None:
    copy = DONE[done](np.ascontiguousarray(TURNS[turn](GREY)))
    ((i, j, how),) = pairs(GREY, copy)
    assert (i, j) == (0, 1)
    back = np.ascontiguousarray(TURNS[how](thumbnail(copy.astype(np.float32))))
    assert np.corrcoef(back.ravel(), thumbnail(GREY).ravel())[0, 1] > 0.99


def test_a_negative_is_a_copy_too() -> None:
    assert pairs(GREY, 1 - GREY) == [(0, 1, NEGATIVE)]
    assert pairs(GREY, 1 - GREY[:, ::-1]) == [(0, 1, f"mirrored and {NEGATIVE}")]


def test_other_radiographs_and_blank_pictures_are_no_copies() -> None:
    others = [phantom(seed, 128, 160).pixels for seed in (4, 5, 6)]
    blank = np.zeros_like(GREY)
    assert pairs(GREY, *others, blank, blank, blank + 0.5) == []


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = np.stack([thumbnail(DONE[done](GREY).astype(np.float32)) for done in DONE])
    whole = set(alike(stack))
    monkeypatch.setattr("hilum.data.alike.BLOCK", 2)
    assert set(alike(stack)) == whole
    assert len(whole) == 6


@pytest.mark.parametrize("turn", TURNS)
def test_no_copy_is_left_out_by_its_spatial_frequencies(turn: str) -> None:
    """What is compared first is never less than what decides, whatever is done to one image."""
    noise = np.random.default_rng(1).random((40, THUMB, THUMB), np.float32)
    seen = np.stack([thumbnail(phantom(seed, 96, 96).pixels) for seed in range(40)])
    mixed = vectors(noise * np.linspace(0, 1, 40, dtype=np.float32)[:, None, None] + seen)
    turned = vectors(TURNS[turn](mixed.reshape(-1, THUMB, THUMB)))
    least = _strengths(mixed) @ _strengths(turned).T
    assert (np.abs(mixed @ turned.T) <= least + 1e-5).all()
    assert np.diag(least) == pytest.approx(1, abs=1e-5)


def test_held_out_images_are_known_in_every_turn() -> None:
    own = np.stack([thumbnail(phantom(seed, 128, 160).pixels) for seed in range(12)])
    held_out = np.stack([TURNS[turn](own[at]) for at, turn in enumerate(TURNS)])
    held_out[::2] = 1 - held_out[::2]
    assert shown_by(own, held_out).tolist() == [True] * len(TURNS) + [False] * 4
    assert not shown_by(own, held_out[:0]).any()
    assert not shown_by(own[:0], held_out).any()


def test_what_copies_join_has_one_key() -> None:
    keys = pd.Series(["a", "b", None, "c", "d", "a"], index=range(10, 16), dtype=object)
    same = joined(keys, [(1, 3, ""), (3, 5, "mirrored")])
    assert same[11] == same[13] == same[15] == same[10] != same[14] == "d"
    assert same[12] is None
    assert same.index.tolist() == keys.index.tolist()


def test_copies_of_files_stay_in_one_part_of_a_split(tmp_path: Path) -> None:
    grey = (GREY * 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey[:, ::-1]).resize((80, 64)).save(tmp_path / "b.jpg", quality=40)
    other = (phantom(4, 128, 160).pixels * 255).astype(np.uint8)
    Image.fromarray(other).save(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(b"broken")
    catalog = load("folder", tmp_path)
    kept, keys, left = compared(catalog, tmp_path / "m.jsonl")
    assert left == ["d.png"]
    assert keys[0] == keys[1] != keys[2]
    assert len(kept) == 3
    found = list(fingerprints(kept, tmp_path / "m.jsonl"))
    assert all(one is not None and len(one.thumb) == 2 * THUMB**2 for one in found)
    assert copies([None, *(one.thumb for one in found if one)]) == [(1, 2, "mirrored")]
