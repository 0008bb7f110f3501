"""What other libraries do with the file system: pandas, pyarrow, fsspec's own helpers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.generic import GenericFileSystem

if TYPE_CHECKING:
    from pathlib import Path

    from fssite import Site

    from sigmaos_ray.fsspec import SigmaFileSystem

FRAME = pd.DataFrame({"word": ["the", "a", "né"] * 1000, "count": range(3000)})


@pytest.fixture
def options(site: Site) -> dict[str, Any]:
    return {"state_file": str(site.state_file)}


def test_pandas_and_csv(place: str, options: dict[str, Any]) -> None:
    url = f"sigma://{place}/words.csv"
    FRAME.to_csv(url, index=False, storage_options=options)
    FRAME.iloc[:1].to_csv(f"{url}.gz", index=False, storage_options=options)
    pd.testing.assert_frame_equal(pd.read_csv(url, storage_options=options), FRAME)
    assert pd.read_csv(f"{url}.gz", storage_options=options)["word"].tolist() == ["the"]
    with pytest.raises(FileNotFoundError):
        pd.read_csv(f"sigma://{place}/none.csv", storage_options=options)


def test_pandas_and_parquet(place: str, options: dict[str, Any]) -> None:
    url = f"sigma://{place}/words.parquet"
    FRAME.to_parquet(url, storage_options=options)
    pd.testing.assert_frame_equal(pd.read_parquet(url, storage_options=options), FRAME)
    narrow = pd.read_parquet(url, columns=["count"], filters=[("count", ">", 2990)], storage_options=options)
    assert narrow["count"].tolist() == list(range(2991, 3000))


def test_pyarrow_and_a_partitioned_dataset(place: str, session_fs: SigmaFileSystem) -> None:
    pq.write_to_dataset(pa.Table.from_pandas(FRAME), f"{place}/set", partition_cols=["word"], filesystem=session_fs)
    assert len(session_fs.glob(f"{place}/set/*/*.parquet")) == 3
    table = pq.read_table(f"{place}/set", filesystem=session_fs, filters=[("word", "=", "the")])
    assert table.num_rows == 1000


def test_urls(place: str, options: dict[str, Any], tmp_path: Path) -> None:
    url = f"sigma://{place}/deep/f.txt"
    fs, path = fsspec.url_to_fs(url, **options)
    fs.makedirs(fs._parent(path))
    with fsspec.open(url, "w", **options) as file:
        file.write("data")
    assert [opened.path for opened in fsspec.open_files(f"sigma://{place}/*/*.txt", **options)] == [path]
    assert fsspec.filesystem("sigma", **options) is fs
    cached = fsspec.open_local(f"simplecache::{url}", sigma=options, simplecache={"cache_storage": str(tmp_path)})
    with open(cached) as local:
        assert local.read() == "data"
    mapper = fsspec.get_mapper(f"sigma://{place}/map", **options)
    mapper["a/b"] = b"1"
    assert dict(mapper) == {"a/b": b"1"}


def test_fsspec_s_other_loop(place: str, options: dict[str, Any], tmp_path: Path) -> None:
    """fsspec's generic file system awaits ours on a loop of its own."""
    (tmp_path / "f").write_bytes(b"data")
    generic = GenericFileSystem(default_method="options", storage_options={"sigma": options, "file": {}})
    generic.cp_file(f"file://{tmp_path}/f", f"sigma://{place}/f")
    assert generic.cat_file(f"sigma://{place}/f") == b"data"
