"""What a service keeps on its node for the server that comes after it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kernel import keeping
from kernel.keeping import FENCES_FILE, FenceFile, KeptFile
from sigmaos_ray import serr
from sigmaos_ray.sigmap import Fence

if TYPE_CHECKING:
    from pathlib import Path

FENCES = [Fence("name/elect", 2, 7)]


def test_fences_outlive_the_server(tmp_path: Path) -> None:
    directory = keeping.opening(keeping.make_directory(str(tmp_path / "s3" / "node")))
    FenceFile(directory).save(FENCES)
    assert FenceFile(directory).load() == FENCES
    (tmp_path / "s3" / "node" / FENCES_FILE).write_bytes(b"[")
    with pytest.raises(serr.Error, match="damaged"):
        FenceFile(directory).load()


def test_without_a_directory_nothing_does() -> None:
    file = FenceFile(keeping.opening(keeping.make_directory("")))
    file.save(FENCES)
    assert file.load() == []
    assert not file.is_behind


def test_fences_that_the_disk_does_not_take_are_told(tmp_path: Path) -> None:
    file = FenceFile(keeping.opening(tmp_path / "gone"))
    with pytest.raises(serr.Error):
        file.save([])
    assert file.is_behind
    with pytest.raises(serr.Error):
        keeping.make_directory(f"{__file__}/below")


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeptFile(keeping.opening(tmp_path), "numbers", list[int], syncs=True)
    file.update(lambda _: [1])

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(serr.Error, match="No space"):
            file.update(lambda numbers: [*(numbers or []), 2])
    assert file.read() == [1]
    assert os.listdir(tmp_path) == ["numbers"]


def test_what_a_crash_left_half_written_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "numbers-new").write_text("[1, 2, 3, 4, 5, 6, 7, 8")
    file = KeptFile(keeping.opening(tmp_path), "numbers", list[int], syncs=False)
    assert file.read() is None
    file.update(lambda _: [1])
    assert (file.read(), os.listdir(tmp_path)) == ([1], ["numbers"])
