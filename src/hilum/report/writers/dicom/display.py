"""The grey scale of the source as the analysis saw it, as valid elements for a presentation state.

One modality transformation and the first VOI LUT or window, chosen by the rules of dicom/lookup.
Look-up tables are written anew: their descriptors are often wrong in the source.
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DS

from hilum.dicom.header import Header
from hilum.dicom.image import layout
from hilum.dicom.limits import Limits
from hilum.dicom.lookup import Float64, Table, modality, read_table
from hilum.dicom.pixels import stored_values

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def add_display(ds: Dataset, header: Header, bits: int) -> None:
    """Set the elements of the Modality LUT and VOI LUT modules that apply.

    Args:
        bits: that the analysis took the values to have; of fewer than are stored, a window says so.
    """
    shape = layout(header, Limits())
    stored = stored_values(shape)
    tables = header.items("ModalityLUTSequence")
    if tables:
        table = read_table(tables[0], stored)
        item = _lut(table, table.entries)
        item.ModalityLUTType = "US"
        ds.ModalityLUTSequence = [item]
    else:
        slope, intercept = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
        if slope or intercept:
            ds.RescaleSlope = DS(slope[0] if slope else 1.0, auto_format=True)
            ds.RescaleIntercept = DS(intercept[0] if intercept else 0.0, auto_format=True)
            ds.RescaleType = "US"
    tables = header.items("VOILUTSequence")
    if tables:
        table = read_table(tables[0], modality(header, stored)[0])
        ds.VOILUTSequence = [_lut(table, table.entries * (65535 / (2**table.bits - 1)))]
    else:
        _window(ds, header)
    if bits < shape.bits_stored and "VOILUTSequence" not in ds and "WindowWidth" not in ds:
        codes = np.arange(2**bits) - (2 ** (bits - 1) if shape.signed else 0)
        units = modality(header, codes.astype(np.float64))[0]
        ds.WindowCenter = DS(float(units.min() + units.max() + 1) / 2, auto_format=True)
        ds.WindowWidth = DS(float(np.ptp(units)) + 1, auto_format=True)


def _window(ds: Dataset, header: Header) -> None:
    centres, widths = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    function = header.code("VOILUTFunction") or "LINEAR"
    least = 1.0 if function not in FUNCTIONS[1:] else 1e-9
    if centres and widths and widths[0] >= least:
        ds.WindowCenter = DS(centres[0], auto_format=True)
        ds.WindowWidth = DS(widths[0], auto_format=True)
        if function in FUNCTIONS[1:]:
            ds.VOILUTFunction = function


def _lut(table: Table, entries: Float64) -> Dataset:
    """A LUT item of 16-bit entries (PS3.3 C.11.1.1: 8 or 16)."""
    item = Dataset()
    vr = "SS" if table.first < 0 else "US"
    item.add_new("LUTDescriptor", vr, [len(entries) % 65536, table.first, 16])
    item.add_new("LUTData", "OW", np.rint(entries).astype("<u2").tobytes())
    return item
