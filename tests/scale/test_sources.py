"""Every image of an archive is found once, however the archive is named."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.pictures import png_bytes, write_png
from hilum.core.errors import ConfigError, InputRefused
from hilum.scale.sources import items_of


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [write_png(tmp_path / "images" / f"{n}.png", n) for n in range(3)]


def test_folder_list_and_table_name_the_same_images(tmp_path: Path, images: list[Path]) -> None:
    names = [str(path) for path in images]
    (tmp_path / "list.txt").write_text("\n".join([*names, "", names[0]]))  # one of them twice
    pq.write_table(pa.table({"path": names, "age": [1, 2, 3]}), tmp_path / "table.parquet")
    for source in ("images", "list.txt", "table.parquet"):
        assert [item.name for item in items_of(str(tmp_path / source))] == names


def test_a_url_gives_the_bytes_of_its_objects_without_what_lies_beside(
    tmp_path: Path, images: list[Path]
) -> None:
    (images[0].parent / "notes.csv").write_text("a,b")
    items = items_of(f"file://{images[0].parent}")
    assert [item.name for item in items] == [f"file://{path}" for path in images]
    assert items[2].load() == png_bytes(2)


def test_a_missing_object_is_refused_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"file://{tmp_path}/gone.png\n{tmp_path}/gone.dcm")
    for item in items_of(str(tmp_path / "list.txt")):
        with pytest.raises(InputRefused) as refused:
            item.load()
        assert refused.value.code == "not-found"


@pytest.mark.parametrize("name", ["none.txt", "none.parquet", "other.parquet", "binary.txt"])
def test_an_unreadable_list_says_what_is_needed(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"file": ["a"]}), tmp_path / "other.parquet")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="needed: "):
        items_of(str(tmp_path / name))


def test_a_password_in_a_url_never_gets_into_results() -> None:
    with pytest.raises(ConfigError, match="password") as error:
        items_of("ftp://me:secret@host/archive")
    assert "secret" not in str(error.value)
