"""Are two result folders of `hilum predict` equal: box by box, score by score, mask pixel by pixel?

    python scripts/compare_runs.py BEFORE AFTER

Compares what both folders say; keys that only one of them knows are named, not compared.
Ends with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

IGNORED = {"seconds"}  # the only value that may differ between two runs


def read(folder: Path) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Images by name, and studies."""
    document = json.loads((folder / "findings.json").read_text())
    return {Path(image["path"]).name: image for image in document["images"]}, document["studies"]


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Keys whose values differ, among those that both have."""
    both = (before.keys() & after.keys()) - IGNORED - {"masks", "findings"}
    out = [key for key in sorted(both) if before[key] != after[key]]
    shared = [
        [{k: one[k] for k in ("label", "score", "box_px")} for one in image["findings"]]
        for image in (before, after)
    ]
    return out + (["findings"] if shared[0] != shared[1] else [])


def mask_pixels(folders: tuple[Path, Path], files: tuple[str, str]) -> int:
    """Pixels that differ; all of them if the sizes do."""
    one, other = (
        cv2.imread(str(folder / file), cv2.IMREAD_UNCHANGED)
        for folder, file in zip(folders, files, strict=True)
    )
    return int(np.count_nonzero(one != other)) if one.shape == other.shape else one.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    given = parser.parse_args()
    (before, studies), (after, studies_after) = read(given.before), read(given.after)
    changed = list[str]()
    boxes = masks = pixels = 0
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            changed.append(f"{name}: in one of the folders only")
            continue
        one, other = before[name], after[name]
        boxes += len(one["findings"])
        changed += [f"{name}: {key}" for key in differences(one, other)]
        if one["masks"].keys() != other["masks"].keys():
            changed.append(f"{name}: masks {sorted(one['masks'])} and {sorted(other['masks'])}")
        for mask in sorted(one["masks"].keys() & other["masks"].keys()):
            wrong = mask_pixels(
                (given.before, given.after), (one["masks"][mask], other["masks"][mask])
            )
            masks, pixels = masks + 1, pixels + wrong
            if wrong:
                changed.append(f"{name}: mask {mask}: {wrong} pixels")
    if studies != studies_after:
        changed.append("studies")
    print(f"{len(before)} images, {boxes} boxes, {masks} masks; {pixels} mask pixels differ")
    for line in changed[:20]:
        print(f"  differs: {line}")
    print("equal" if not changed else f"{len(changed)} differences")
    raise SystemExit(1 if changed else 0)


if __name__ == "__main__":
    main()
