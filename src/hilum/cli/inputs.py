"""What a command reads: files, folders, zips, DICOMDIR, and the images of catalogs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hilum.data.catalog import Catalog
    from hilum.dicom.discover import Item
    from hilum.evaluate.truth import ImageTruth
    from hilum.explain.folder import Case
    from hilum.report.explanation import Annotations

CATALOG = ".parquet"


def inputs(paths: Iterable[Path], passed: Counter[str]) -> Iterator[Item]:
    """As `discover`; of a catalog (Parquet) the images that it lists and nothing beside them.

    Args:
        passed: counts what is left out, by its suffix.

    Raises:
        DataError: a catalog that is none, or whose images have no files.
    """
    from hilum.dicom.discover import discover

    for path in paths:
        if path.suffix.lower() == CATALOG:
            yield from _of_catalog(path)
        else:
            yield from discover([path], passed=passed)


def _of_catalog(path: Path) -> Iterator[Item]:
    from hilum.core.errors import DataError
    from hilum.core.extras import require

    require("eval")
    from hilum.data.catalog import open_catalog
    from hilum.data.references import archive_and_member
    from hilum.dicom.discover import discover

    catalog = open_catalog(path)
    catalog.need_files()
    references = [str(reference) for reference in catalog.table["path"] if reference]
    if not references:
        raise DataError(f"catalog {path} lists no files, only what tables say of its images")
    split = [archive_and_member(reference) for reference in references]
    wanted = {archive: {m for a, m in split if a == archive} for archive, _ in split}
    for archive, members in wanted.items():
        if archive:
            items = discover([catalog.root / archive])
            yield from (item for item in items if item.member in members)
        else:
            yield from discover(catalog.root / r for a, r in split if not a)


def annotated(paths: Iterable[Path], passed: Counter[str]) -> Iterator[Case]:
    """As `inputs`, with the annotations of catalogs.

    Raises:
        DataError: as `inputs`.
    """
    from hilum.explain.folder import Case

    for path in paths:
        if path.suffix.lower() != CATALOG:
            yield from map(Case, inputs([path], passed))
            continue
        from hilum.core.extras import require

        require("eval")
        from hilum.data.catalog import open_catalog
        from hilum.evaluate.truth import truths_of

        catalog = open_catalog(path)
        items = {item.name: item for item in _of_catalog(path)}
        for row, truth in enumerate(truths_of(catalog)):
            item = items.get(str(catalog.root / str(catalog.table["path"].iat[row])))
            if item is not None:
                boxed = truth.boxes_px is not None and len(truth.boxes_px) > 0
                yield Case(
                    item,
                    patient=truth.patient,
                    readers=partial(_drawn, catalog, row, truth),
                    boxed=boxed,
                    marked=boxed or _masked(catalog, row),
                )


def _findings(names: Iterable[str]) -> list[str]:
    """Those that are findings, of whatever name, and no anatomy."""
    from hilum.core.labels import ANATOMY

    return [name for name in names if name not in ANATOMY]


def _masked(catalog: Catalog, row: int) -> bool:
    """Whether a mask of a finding is there, and is not said to be empty."""
    known = [c.removeprefix("mask_") for c in map(str, catalog.table) if c.startswith("mask_")]
    references = [catalog.table[f"mask_{name}"].iat[row] for name in _findings(known)]
    return any(isinstance(one, str) and one != "" for one in references)


def _drawn(catalog: Catalog, row: int, truth: ImageTruth, width: int, height: int) -> Annotations:
    """In pixels of the file, whatever frame the catalog has; anatomy is left out."""
    from hilum.report.explanation import Annotations

    known = catalog.boxes_in(row, width, height)
    masks = {name: truth.masks[name](height, width) for name in _findings(truth.masks)}
    if known is None:
        return Annotations(masks=masks)
    return Annotations(boxes_px=known[0], labels=tuple(known[1]), masks=masks)
