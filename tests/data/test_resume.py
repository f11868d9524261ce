"""Work on files is done once, remembered line by line; a damaged memory costs work, not results."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.data.resume import each_file

DAMAGES = [  # of a line
    b"",
    b"{",
    b"null",
    b"[1]",
    b'{"path": ["a"]}',
    b'{"stamp": 1}',
    b"\xff\xfe",
    b"[" * 9999,
]


def run(folder: Path, names: list[str]) -> tuple[dict[str, int], list[str]]:
    """What is known of each file, and which were looked at for it."""
    looked: list[str] = []

    def work(path: str) -> dict[str, int]:
        looked.append(path)
        return {"size": (folder / path).stat().st_size}

    facts = {f["path"]: f["size"] for f in each_file(folder, names, work, folder / "m.jsonl")}
    return facts, sorted(looked)


@pytest.mark.parametrize("damage", DAMAGES, ids=repr)
def test_a_damaged_line_is_one_file_done_again(tmp_path: Path, damage: bytes) -> None:
    names = ["a", "b", "c"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * number)
    facts, looked = run(tmp_path, names)
    assert looked == names
    assert run(tmp_path, names) == (facts, [])
    memory = tmp_path / "m.jsonl"
    lines = memory.read_bytes().splitlines(keepends=True)
    lost = next(name for name in names if f'"path": "{name}"'.encode() in lines[1])
    memory.write_bytes(b"".join([lines[0], damage[:200] + b"\n", lines[2]]))
    assert run(tmp_path, names) == (facts, [lost])
