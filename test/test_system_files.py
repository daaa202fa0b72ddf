"""Folders of files that are there with all of them or not at all."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asymformer_ros.system import files
from asymformer_ros.system.files import write_atomically, write_folder_atomically

CONTENTS = {"a.txt": b"one", "deeper/b.txt": b"two"}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_holds_what_it_was_given_and_its_parents_are_made(tmp_path: Path) -> None:
    assert write_folder_atomically(tmp_path / "new" / "shot", CONTENTS) == tmp_path / "new" / "shot"
    assert tree(tmp_path) == {f"new/shot/{name}": content for name, content in CONTENTS.items()}


def test_a_path_that_is_taken_by_a_folder_or_a_file_gets_a_number(tmp_path: Path) -> None:
    (tmp_path / "shot-2").write_text("a file")
    paths = [write_folder_atomically(tmp_path / "shot", CONTENTS) for _ in range(3)]
    assert [path.name for path in paths] == ["shot", "shot-3", "shot-4"]
    assert (tmp_path / "shot-2").read_text() == "a file"


def test_a_folder_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == "b.txt":
            raise OSError(28, "No space left on device", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    monkeypatch.setattr(files, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        write_folder_atomically(tmp_path / "shot", CONTENTS)
    assert os.listdir(tmp_path) == []


def test_who_writes_one_file_at_once_does_not_disturb_another(tmp_path: Path) -> None:
    """As processes of two containers may, that have one number and one folder."""
    contents = [bytes([number]) * 100_000 for number in range(4)]

    def write(content: bytes) -> None:
        for _ in range(25):
            write_atomically(tmp_path / "file", content, to_disk=False)
            assert (tmp_path / "file").read_bytes() in contents

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, contents))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
