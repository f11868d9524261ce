"""What a command reads: files, folders, zips, DICOMDIR, and the images of catalogs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hilum.dicom.discover import Item

CATALOG = ".parquet"


def inputs(paths: Iterable[Path]) -> Iterator[Item]:
    """As `discover`; of a catalog (Parquet) the images that it lists and nothing beside them.

    Raises:
        DataError: a catalog that is none, or whose images have no files.
    """
    from hilum.dicom.discover import discover

    for path in paths:
        yield from _of_catalog(path) if path.suffix.lower() == CATALOG else discover([path])


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
