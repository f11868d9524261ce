"""Parquet -> a table and what stands beside it, however hostile the bytes. Knows no column."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hilum.core.errors import DataError

MOST_BYTES = 2 * 2**30  # of a table in memory


def read_parquet(source: str | os.PathLike[str] | bytes) -> tuple[pd.DataFrame, dict[bytes, bytes]]:
    """The table and the metadata of a file. What pandas wrote beside is not asked: it is code of no
    use here, and another parser of hostile bytes.

    Raises:
        DataError: not readable, or it says that it holds more than a table can.
    """
    try:
        with pq.ParquetFile(BytesIO(source) if isinstance(source, bytes) else source) as file:
            batches, size = [], 0
            for batch in file.iter_batches():  # a few bytes may stand for millions of rows
                size += batch.nbytes
                if size > MOST_BYTES:
                    raise DataError(f"it holds more than {MOST_BYTES} bytes")
                batches.append(batch)
            table = pa.Table.from_batches(batches, file.schema_arrow)
            if table.num_rows != file.metadata.num_rows:
                raise DataError(f"it has {file.metadata.num_rows} rows, {table.num_rows} are there")
        meta = table.schema.metadata or {}
        return table.replace_schema_metadata(None).to_pandas(), meta
    except Exception as error:  # Arrow and pandas raise whatever they like
        raise DataError((str(error) or type(error).__name__).splitlines()[0]) from error


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Every cell as a CSV would hold it, "" where there is none."""
    out = {str(name): table[name].map(_text) for name in table}
    return pd.DataFrame(out, index=table.index, dtype=object)


def _text(value: Any) -> str:
    missing = value is None or (not isinstance(value, list | dict) and value != value)  # NaN, NaT
    return "" if missing else str(value)
