"""A bundle is complete and untouched, or it is refused before anything looks inside the model."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from helpers.toy import toy_files, toy_graph, toy_manifest, write_toy
from hilum.core.bundle import Bundle, load_bundle, shipped_bundles, write_bundle
from hilum.core.errors import BundleError, ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_toy(tmp_path / "toy")
    return tmp_path / "toy"


def test_folder_and_zip_are_the_same_bundle(tmp_path: Path) -> None:
    a, b = write_toy(tmp_path / "a"), write_toy(tmp_path / "b.zip")
    assert a.sha256 == b.sha256
    assert a.manifest == b.manifest
    assert a.model() == b.model("fp32")


def test_the_same_content_gives_the_same_zip(tmp_path: Path) -> None:
    write_toy(tmp_path / "a.zip")
    write_toy(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_hash_changes_with_the_weights(tmp_path: Path) -> None:
    a, b = write_toy(tmp_path / "a"), write_toy(tmp_path / "b", logits=(1.0,))
    assert a.sha256 != b.sha256


def test_a_bundle_travels_to_other_processes(folder: Path) -> None:
    bundle = load_bundle(folder)
    again: Bundle = pickle.loads(pickle.dumps(bundle))  # noqa: S301
    assert again == bundle


def test_a_changed_model_is_refused(folder: Path) -> None:
    model = folder / "model.onnx"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(BundleError, match="does not match its hash"):
        load_bundle(folder)


def test_a_changed_manifest_is_refused_wherever_it_is_changed(folder: Path) -> None:
    path = folder / "manifest.json"
    text = path.read_text()
    changed = [
        text[:at] + chr(ord(letter) ^ 1) + text[at + 1 :]
        for at, letter in enumerate(text)
        if letter in "2468"  # another digit: a threshold, a size, a hash; always still JSON
    ]
    # The 17th digit of a number may change nothing.
    different = [c for c in changed if json.loads(c) != json.loads(text)]
    assert len(different) > 20
    for content in different:
        path.write_text(content)
        with pytest.raises(BundleError):
            load_bundle(folder)
    path.write_text(text)
    load_bundle(folder)


def test_a_model_changed_after_loading_is_refused(folder: Path) -> None:
    bundle = load_bundle(folder)
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="does not match its hash"):
        bundle.model()


@pytest.mark.parametrize("name", ["weights.pkl", "extra.md", "run.py", ".hidden"])
def test_an_unlisted_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_a_pickle_under_an_innocent_name_is_refused(tmp_path: Path) -> None:
    files = toy_files(pickle.dumps({"weights": 1}))
    with pytest.raises(BundleError, match="pickle"):
        write_bundle(tmp_path / "b.zip", toy_manifest(), files)
    assert not (tmp_path / "b.zip").exists()


def test_weights_outside_the_bundle_are_refused(tmp_path: Path) -> None:
    files = toy_files(b"\x08\x09" + b"\x0a\x08location\x12\x0b/etc/passwd")
    with pytest.raises(BundleError, match="outside the bundle"):
        write_bundle(tmp_path / "b.zip", toy_manifest(), files)


def test_links_and_folders_are_refused(folder: Path) -> None:
    card = folder / "card.md"
    (folder.parent / "card.md").write_bytes(card.read_bytes())
    card.unlink()
    card.symlink_to(folder.parent / "card.md")
    with pytest.raises(BundleError, match="link or folder"):
        load_bundle(folder)
    card.unlink()
    card.mkdir()
    with pytest.raises(BundleError, match="link or folder"):
        load_bundle(folder)


def test_zip_slip_and_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    write_toy(tmp_path / "good.zip")
    for name, mode in (("../evil.md", 0o644), ("/etc/evil.md", 0o644), ("evil.md", 0o120777)):
        shutil.copy(tmp_path / "good.zip", tmp_path / "bad.zip")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        with zipfile.ZipFile(tmp_path / "bad.zip", "a") as archive:
            archive.writestr(info, b"x")
        with pytest.raises(BundleError):
            load_bundle(tmp_path / "bad.zip")
    assert not (tmp_path.parent / "evil.md").exists()


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    content = write_toy(tmp_path / "b.zip") and (tmp_path / "b.zip").read_bytes()
    at = content.rindex(b"PK\x01\x02") + 28  # the length of a name in the zip's directory
    size = int.from_bytes(content[at : at + 2], "little")
    hole = content[: at + 18] + content[at + 18 + size :]
    (tmp_path / "b.zip").write_bytes(hole[:at] + b"\0\0" + hole[at + 2 :])
    with pytest.raises(BundleError, match=r"b\.zip"):
        load_bundle(tmp_path / "b.zip")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "", "~no-one/x"])
def test_a_name_that_no_file_can_have_is_no_bundle(name: str) -> None:
    with pytest.raises(BundleError):
        load_bundle(name)


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * (8 * 2**20))
    with pytest.raises(BundleError, match="larger than"):
        load_bundle(tmp_path / "bomb.zip")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "LICENSE.md").unlink()
    with pytest.raises(BundleError, match=r"LICENSE\.md"):
        load_bundle(folder)


def test_a_bundle_without_card_is_not_written(tmp_path: Path) -> None:
    files = toy_files(b"\x08\x09")
    del files["card.md"]
    with pytest.raises(BundleError, match=r"card\.md"):
        write_bundle(tmp_path / "b", toy_manifest(), files)


def _with_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_unknown_schema_says_what_to_do(folder: Path) -> None:
    _with_manifest(folder, schema="hilum.bundle/9")
    with pytest.raises(BundleError, match=r"hilum.bundle/9.*this hilum reads"):
        load_bundle(folder)


def test_an_unknown_key_is_an_error(folder: Path) -> None:
    _with_manifest(folder, run_after_loading="rm")
    with pytest.raises(BundleError, match="run_after_loading"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["../unicorn"]}, "no finding or mask can have"),
        ({"image_scores": {"opacity": "nothing"}}, "global classes"),
        ({"default_precision": "int8"}, "default precision"),
        ({"preprocessing": {"size": 100}}, "multiple of 32"),
        ({"masks": {"lungs": {"channel": -1}}}, "channel"),
        ({"decoding": {"mask_weights": {"heart": 1.0}}}, "unknown keys|unknown masks"),
        ({"precisions": {"fp32": "card.md"}}, "not ONNX"),
    ],
)
def test_a_manifest_that_cannot_work_is_refused(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    _with_manifest(folder, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all" * 9])
def test_something_else_is_not_a_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(BundleError):
        load_bundle(tmp_path / "b.zip")
    with pytest.raises(BundleError, match="no such bundle"):
        load_bundle(tmp_path / "absent.zip")


def test_truncated_zips_are_refused(tmp_path: Path) -> None:
    write_toy(tmp_path / "good.zip")
    content = (tmp_path / "good.zip").read_bytes()
    for end in range(0, len(content), max(1, len(content) // 40)):
        (tmp_path / "cut.zip").write_bytes(content[:end])
        with pytest.raises(BundleError):
            load_bundle(tmp_path / "cut.zip")


def test_an_existing_folder_is_not_overwritten(folder: Path) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        write_toy(folder)


def test_the_toy_graph_is_small() -> None:
    import numpy as np

    assert len(toy_graph(np.zeros((0, 4)), np.zeros(0))) < 100_000


def test_a_second_distribution_adds_bundles_and_pipelines_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hilum-models is found where it is installed, and nothing is missed where it is not."""
    from hilum.core import bundle as module
    from hilum.inference.pipeline import shipped_pipelines

    before = set(shipped_bundles()), set(shipped_pipelines())
    package = tmp_path / "more_models"
    (package / "bundles" / "other").mkdir(parents=True)
    (package / "bundles" / "other" / "manifest.json").write_text("{}")
    (package / "bundles" / "no-bundle").mkdir()
    (package / "pipelines").mkdir()
    (package / "pipelines" / "other.yaml").write_text("name: other")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "MODELS", "more_models")
    assert set(shipped_bundles()) - before[0] == {"other"}
    assert set(shipped_pipelines()) - before[1] == {"other"}
