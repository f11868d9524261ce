"""The DICOM writers of the registry. Import without highdicom, which they need when called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from hilum.core.options import Options
from hilum.report.writers.dicom import dicom_objects, to_bytes

if TYPE_CHECKING:
    from hilum.dicom.analysed import Analysed


class DicomWriter(Options):
    """One DICOM object of an analysed image."""

    suffix: ClassVar[str] = ".dcm"
    name: ClassVar[str]

    @property
    def kind(self) -> str:
        """A key of `report.writers.dicom.KINDS`."""
        return self.name

    def __call__(self, image: Analysed) -> Mapping[str, bytes]:
        return {self.name: to_bytes(dicom_objects(image, [self.kind])[self.kind])}


class SrWriter(DicomWriter):
    """Structured report; `--write sr:document=comprehensive` for archives without the 3D class."""

    name: ClassVar[str] = "sr"
    document: Literal["comprehensive-3d", "comprehensive"] = "comprehensive-3d"

    @property
    def kind(self) -> str:
        return "sr" if self.document == "comprehensive-3d" else "sr-comprehensive"


class SegWriter(DicomWriter):
    """Masks as a binary segmentation."""

    name: ClassVar[str] = "seg"


class GspsWriter(DicomWriter):
    """Boxes as a grayscale softcopy presentation state."""

    name: ClassVar[str] = "gsps"


class ScWriter(DicomWriter):
    """Boxes burned into a secondary capture."""

    name: ClassVar[str] = "sc"
