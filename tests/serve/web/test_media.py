"""Of several ways to answer the one that a request likes best (RFC 9110 12.5.1)."""

from __future__ import annotations

import pytest
from fastapi.exceptions import HTTPException

from hilum.serve.web.media import DICOM, JPEG, OCTETS, PNG, Accept, Media, ranges_of

PICTURES = (Media(kind=JPEG), Media(kind=PNG), Media(kind=JPEG, parts=True))
STORED = "1.2.840.10008.1.2.4.90"
OBJECTS = (
    Media(kind=DICOM, parts=True, syntaxes=lambda: {STORED}),
    Media(kind=DICOM, syntaxes=lambda: {STORED}),
)


def chosen(text: str, ways: tuple[Media, ...]) -> str | None:
    """The way that is chosen; None: 406."""
    try:
        return str(Accept(tuple(ranges_of(text))).choose(ways))
    except HTTPException as error:
        return None if error.status_code == 406 else str(error)


@pytest.mark.parametrize(
    ("accept", "way"),
    [
        ("*/*", JPEG),
        ("image/*", JPEG),
        ("IMAGE/PNG", PNG),
        ("image/png;q=0.5, image/jpeg;q=.4", JPEG),  # a weight that is none counts as 1
        ("image/png;q=0.5, image/jpeg;q=0.4", PNG),
        ("image/jpeg;q=0, */*", PNG),  # the narrower entry decides
        ("text/html, image/webp, */*;q=0.1", JPEG),  # what a browser says
        ('multipart/related; type="image/jpeg"', 'multipart/related; type="image/jpeg"'),
        ("multipart/related", 'multipart/related; type="image/jpeg"'),
        ('multipart/related; type="image/png"', None),
        ("image/gif", None),
        ("image/jpeg;q=0", None),
        ("", None),
        (',;=,"', None),
    ],
)
def test_the_picture_that_is_liked_best(accept: str, way: str | None) -> None:
    assert chosen(accept, PICTURES) == way


@pytest.mark.parametrize(
    ("accept", "fits"),
    [
        ('multipart/related; type="application/dicom"', True),
        ("multipart/related; type=application/dicom; transfer-syntax=*", True),
        ('multipart/related; type="application/dicom"; transfer-syntax="*"', True),
        (f"application/dicom; transfer-syntax={STORED}", True),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1", False),
        (f"application/dicom; transfer-syntax=1.2.840.10008.1.2.1, {DICOM};q=0.1", True),
        ("application/dicom+json", False),
        ('multipart/related; type="application/dicom+xml"', False),
        (OCTETS, False),
    ],
)
def test_objects_come_as_they_are_stored_or_not_at_all(accept: str, fits: bool) -> None:
    assert (chosen(accept, OBJECTS) is not None) == fits


def test_no_way_is_taken_where_there_is_none() -> None:
    assert chosen("*/*", ()) is None


def test_transfer_syntaxes_are_looked_for_only_where_one_is_named() -> None:
    def never() -> set[str]:
        raise AssertionError

    assert chosen("*/*", (Media(kind=DICOM, syntaxes=never),)) == DICOM
