"""Contents of any size, streams, copies, JSON, as every server must do them (section F)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr

if TYPE_CHECKING:
    from conftest import Tree

MIB = 1 << 20


async def names(tree: Tree, pn: str | None = None) -> list[str]:
    return [stat.name for stat in await tree.sc.get_dir(pn or tree.root)]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
async def test_files_of_any_size(tree: Tree, size: int) -> None:
    if size > MIB and not tree.large_files:
        with pytest.raises(serr.Inval, match="1048576"):
            await tree.sc.put_file(tree / "f", bytes(size))
        return
    data = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    assert await tree.sc.put_file(tree / "f", data) == size
    assert await tree.sc.get_file(tree / "f") == data
    fd = await tree.sc.open(tree / "f")
    assert await tree.sc.read(fd, size + 10) == data
    await tree.sc.close_fd(fd)
    async with tree.sc.open_reader(tree / "f") as reader:
        assert await reader.read() == data
    if size > 100:
        async with tree.sc.open_reader(tree / "f", 50, size - 100) as reader:
            assert await reader.read() == data[50 : size - 50]
    assert await tree.sc.copy_file(tree / "f", tree / "copy") == size
    assert await tree.sc.get_file(tree / "copy") == data
    with pytest.raises(serr.Exists):
        await tree.sc.copy_file(tree / "f", tree / "copy")
    await tree.sc.put_file_atomic(tree / "f", b"small again")
    assert await tree.sc.get_file(tree / "f") == b"small again"
    assert await names(tree) == ["copy", "f"]


async def test_json(tree: Tree) -> None:
    await tree.sc.put_file_json(tree / "f", {"a": [1, 2.5, None, "x"]})
    assert await tree.sc.get_file_json(tree / "f") == {"a": [1, 2.5, None, "x"]}
    await tree.sc.append_file_json(tree / "log", {"n": 1})
    await tree.sc.append_file_json(tree / "log", {"n": 2})
    assert await tree.sc.get_file(tree / "log") == b'{"n":1}\n{"n":2}\n'
    with pytest.raises(serr.Inval):
        await tree.sc.get_file_json(tree / "log")
    with pytest.raises(serr.Inval):
        await tree.sc.put_file_json(tree / "f", object())
