"""Any mix of files, folders, zips and DICOMDIRs becomes items in a fixed order."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from helpers.dicom_files import image, stored, to_bytes
from hilum.core.errors import InputRefused, LimitRefused, NotFoundRefused, UnreadableRefused
from hilum.core.files import OWN_MARK
from hilum.dicom.discover import Item, discover, distinct
from hilum.dicom.limits import Limits

FILE = image(stored())
PNG = imagecodecs.png_encode(stored())


def names(*paths: Path) -> list[str]:
    return [item.name for item in discover(paths)]


def reason(item: Item, kind: type[InputRefused] = UnreadableRefused) -> str:
    with pytest.raises(kind) as caught:
        item.open().radiograph()
    return str(caught.value)


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_folders_are_walked_sorted_and_sidecars_left_out(tmp_path: Path) -> None:
    for name in ("b.dcm", "a.png", "sub/c", "sub/deep/d.dicom", "z.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILE)
    for name in ("labels.csv", "readme.md", ".hidden", "x.json", "sub/.DS_Store", ".git/a.dcm"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"text")
    result = [Path(n).relative_to(tmp_path).as_posix() for n in names(tmp_path)]
    assert result == ["a.png", "b.dcm", "z.jpg", "sub/c", "sub/deep/d.dicom"]


def test_a_file_counts_once_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(FILE)
    (tmp_path / "b.dcm").symlink_to("a.dcm")
    (tmp_path / "c.dcm").hardlink_to(tmp_path / "a.dcm")
    (tmp_path / "d.dcm").write_bytes(FILE)  # a copy is a file of its own
    (tmp_path / "gone.dcm").symlink_to("nowhere")
    zipped = pack(tmp_path / "e.zip", {"x.dcm": FILE, "y.dcm": FILE})
    (tmp_path / "f.zip").symlink_to("e.zip")
    once, again = distinct(discover([tmp_path / "a.dcm", tmp_path, zipped]))
    own = [Path(item.name).name for item in once]
    assert own == ["a.dcm", "d.dcm", "e.zip!x.dcm", "e.zip!y.dcm", "gone.dcm"]
    short = sorted((Path(name).name, Path(first).name) for name, first in again)
    assert short == [
        *((f"{name}.dcm", "a.dcm") for name in "abc"),
        *((f"{z}.zip!{name}.dcm", f"e.zip!{name}.dcm") for z in "ef" for name in "xy"),
    ]


def test_every_missing_file_of_a_medium_counts_also_beside_its_folder(tmp_path: Path) -> None:
    path = directory(tmp_path, [["GONE"], ["LOST"], ["..", "OUT"]])
    once, again = distinct(discover([path, tmp_path]))
    told = [item.name.removeprefix(f"{path}!") for item in once[:3]]
    assert told == ["GONE", "LOST", "../OUT"]
    assert len(again) == 3  # the same three, told of again when the folder is walked


def test_pictures_of_results_are_no_inputs_when_named_themselves(tmp_path: Path) -> None:
    for name in ("picture", "mask"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(PNG)
    assert len(names(tmp_path / "picture")) == 1  # anybody's folder
    (tmp_path / OWN_MARK).mkdir()
    (item,) = discover([tmp_path / "picture"])
    assert "pictures that hilum made" in reason(item, NotFoundRefused)
    (item,) = discover([os.path.relpath(tmp_path / "mask")])
    assert "pictures that hilum made" in reason(item, NotFoundRefused)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.dcm").write_bytes(FILE)
    root = tmp_path / "root"
    root.mkdir()
    (root / "once").symlink_to(tmp_path / "elsewhere")
    (root / "twice").symlink_to(tmp_path / "elsewhere")
    (root / "round").symlink_to(root)
    assert names(root) == [str(root / "once" / "a.dcm")]


def test_a_closed_folder_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, scan = tmp_path / "closed", os.scandir
    closed.mkdir()

    def scandir(path: str) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (item,) = discover([tmp_path])
    assert "cannot be opened" in reason(item, NotFoundRefused)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_a_folder_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (item,) = discover([tmp_path])
    assert "pipe" in reason(item)


def test_what_hilum_drew_is_no_input(tmp_path: Path) -> None:
    for name in ("a.dcm", "out/overlay/a.png", "out/mask/a.png", "out/b.dcm", "mask/c.dcm"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILE)
    (tmp_path / "out" / ".hilum").mkdir()
    result = [Path(n).relative_to(tmp_path).as_posix() for n in names(tmp_path)]
    assert result == ["a.dcm", "mask/c.dcm", "out/b.dcm"]
    # A folder named outright is read, whatever it is.
    assert len(names(tmp_path / "out" / "masks")) == 1


def test_a_name_that_is_no_text_can_be_written_down(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.dcm"
    try:
        with open(path, "wb") as stream:
            stream.write(FILE)
    except OSError:
        pytest.skip("this file system takes text only")
    (item,) = discover([tmp_path])
    assert item.name.encode().endswith(b"\\udcff.dcm")
    assert item.open().radiograph().width == 20


def test_one_bad_file_each_says_why_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "good.dcm").write_bytes(FILE)
    (tmp_path / "cut.dcm").write_bytes(FILE[:-100])
    (tmp_path / "text.dcm").write_bytes(b"not an image at all, only a letter" * 9)
    (tmp_path / "empty.dcm").write_bytes(b"")
    items = {Path(i.name).name: i for i in discover([tmp_path])}
    assert len(items) == 4
    assert items["good.dcm"].open().radiograph().height == 24
    assert "truncated" in reason(items["cut.dcm"])
    assert "neither DICOM" in reason(items["text.dcm"])
    assert "empty" in reason(items["empty.dcm"])


def test_what_is_named_is_tried_even_with_a_sidecars_name(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(FILE)
    assert [i.open().radiograph().height for i in discover([path])] == [24]


def test_missing_paths_and_empty_folders_are_items_with_a_reason(tmp_path: Path) -> None:
    missing, empty = discover([tmp_path / "none.dcm", tmp_path])
    assert "no such file" in reason(missing, NotFoundRefused)
    assert "no images" in reason(empty, NotFoundRefused)


def test_zip_members(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "s.zip", {"b/x.dcm": FILE, "a.png": PNG, "list.csv": b"1", "__MACOSX/a": b""}
    )
    items = list(discover([path]))
    assert [i.name for i in items] == [f"{path}!a.png", f"{path}!b/x.dcm"]
    np.testing.assert_array_equal(
        items[0].open().radiograph().pixels, items[1].open().radiograph().pixels
    )
    assert items[1].open().radiograph().source == f"{path}!b/x.dcm"
    again = pickle.loads(pickle.dumps(items[1]))  # noqa: S301  our own bytes
    assert again.open().radiograph().height == 24


def test_zip_in_zip_is_refused_and_slips_are_only_names(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x.dcm", FILE)
    path = pack(tmp_path / "s.zip", {"../../up.dcm": FILE, "in.zip": inner.getvalue()})
    slip, nested = discover([path])
    assert slip.open().radiograph().height == 24
    assert "zip inside a zip" in reason(nested)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zip"]


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "s.zip", {"a.dcm": bytes(80 * 2**20)})
    (item,) = discover([path])
    assert "-fold" in reason(item, LimitRefused)
    many = pack(tmp_path / "m.zip", {f"{i}.dcm": FILE for i in range(5)})
    (item,) = discover([many], Limits(zip_members=4))
    assert "5 files" in reason(item, LimitRefused)


def test_a_name_that_occurs_twice_in_a_zip_is_refused_not_answered_twice(tmp_path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        warnings.simplefilter("ignore")  # zipfile's own, about the name
        for name in ("good.dcm", "twice.png", "twice.png"):
            archive.writestr(name, FILE)
    good, twice = discover([tmp_path / "a.zip"])
    assert good.open().radiograph().width == 20
    assert "2 files of this name" in reason(twice)


def test_a_zip_with_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    """zipfile itself fails on it (found by scripts/gates/fuzz.sh)."""
    path = pack(tmp_path / "s.zip", {"NAME": FILE})
    path.write_bytes(path.read_bytes().replace(b"NAME", b"\0AME"))  # it reads up to the zero
    (item,) = discover([path])
    assert "damaged" in reason(item)


def test_damaged_and_empty_zips_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "s.zip", {"a.dcm": FILE})
    data = bytearray(path.read_bytes())
    (tmp_path / "cut.zip").write_bytes(data[:-30])
    (item,) = discover([tmp_path / "cut.zip"])
    assert "damaged" in reason(item)
    data[60:90] = bytes(30)
    (tmp_path / "bad.zip").write_bytes(data)
    (item,) = discover([tmp_path / "bad.zip"])
    assert "damaged" in reason(item)
    (item,) = discover([pack(tmp_path / "none.zip", {})])
    assert "no images" in reason(item, NotFoundRefused)


def directory(tmp_path: Path, references: list[list[str]]) -> Path:
    records = []
    for parts in references:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record.ReferencedFileID = parts
        records.append(record)
    patient = Dataset()
    patient.DirectoryRecordType = "PATIENT"
    ds = Dataset()
    ds.SOPClassUID = uids.MediaStorageDirectoryStorage
    ds.FileSetID = "X"
    ds.DirectoryRecordSequence = Sequence([patient, *records])
    path = tmp_path / "DICOMDIR"
    path.write_bytes(to_bytes(ds))
    return path


def test_dicomdir_is_followed_also_in_lower_case(tmp_path: Path) -> None:
    (tmp_path / "IMAGES").mkdir()
    (tmp_path / "IMAGES" / "B").write_bytes(FILE)
    (tmp_path / "images").mkdir(exist_ok=True)
    (tmp_path / "images" / "a").write_bytes(FILE)
    path = directory(tmp_path, [["IMAGES", "B"], ["IMAGES", "A"], ["IMAGES", "GONE"]])
    first, second, gone = discover([path])
    assert first.name == str(tmp_path / "IMAGES" / "B")
    assert second.open().radiograph().height == first.open().radiograph().height == 24
    assert "not there" in reason(gone, NotFoundRefused)
    assert "DICOMDIR" not in {Path(n).name for n in names(tmp_path)}


@pytest.mark.parametrize(
    "name", ["A.dcm", "a.DCM", "a.ima", "A;1", "A.;1", "a.dcm;1", "A.DICOM"], ids=lambda n: n
)
@pytest.mark.parametrize("folder", ["IMAGES", "images", "Images"])
def test_files_of_a_dicomdir_may_have_got_a_suffix(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / name).write_bytes(FILE)
    (item,) = discover([directory(tmp_path, [["IMAGES", "A"]])])
    assert item.name == str(tmp_path / folder / name)
    assert item.open().radiograph().height == 24


def test_the_very_name_comes_before_any_other(tmp_path: Path) -> None:
    for name in ("A", "a", "A.dcm"):
        (tmp_path / name).write_bytes(FILE)
    (item,) = discover([directory(tmp_path, [["A"]])])
    assert item.name == str(tmp_path / "A")


def test_a_reference_that_may_mean_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("A.dcm", "A.ima"):
        (tmp_path / name).write_bytes(FILE)
    (item,) = discover([directory(tmp_path, [["A"]])])
    assert "may mean A.dcm and A.ima" in reason(item)


def test_missing_files_of_a_medium_are_named_also_when_its_folder_is_given(tmp_path: Path) -> None:
    (tmp_path / "IMAGES").mkdir()
    (tmp_path / "IMAGES" / "A.dcm").write_bytes(FILE)
    path = directory(tmp_path, [["IMAGES", "A"], ["IMAGES", "GONE"]])
    missing, result = discover([tmp_path])
    assert result.name == str(tmp_path / "IMAGES" / "A.dcm")
    assert missing.name == f"{path}!IMAGES/GONE"
    assert "not there" in reason(missing, NotFoundRefused)


@pytest.mark.parametrize("parts", [["..", "A"], ["A", "..", "..", "A"], ["/etc/passwd"], ["A/B"]])
def test_dicomdir_never_leads_outside(tmp_path: Path, parts: list[str]) -> None:
    inside = tmp_path / "medium"
    inside.mkdir()
    (tmp_path / "A").write_bytes(FILE)
    (item,) = discover([directory(inside, [parts])])
    assert "outside" in reason(item)


def test_dicomdir_does_not_follow_links_outside(tmp_path: Path) -> None:
    inside = tmp_path / "medium"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(FILE)
    (inside / "LINK").symlink_to(tmp_path / "secret")
    (item,) = discover([directory(inside, [["LINK"]])])
    assert "outside" in reason(item)


def test_what_is_left_out_is_counted_and_dicom_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("report.pdf", "b/notes.txt", ".hidden", "DICOMDIR.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b/export.bin").write_bytes(FILE)
    (tmp_path / ".hidden.dcm").write_bytes(FILE)
    pack(tmp_path / "a.zip", {"a.dcm": FILE, "readme.TXT": b"x", "__MACOSX/._a": b"x"})
    passed: Counter[str] = Counter()
    found = [item.name for item in discover([tmp_path], passed=passed)]
    assert found == [f"{tmp_path}/a.zip!a.dcm", f"{tmp_path}/b/export.bin"]
    assert passed == {".pdf": 1, ".txt": 2, "hidden": 2}
