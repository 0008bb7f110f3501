"""Other people's programs over ``sigma://``: by URL, without options, as their manuals have it for any file system."""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask.dataframe as dd
import duckdb
import fsspec
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
import zarr

from sigmaos_ray.fsspec import SigmaFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fssite import Site

FRAME = pd.DataFrame({"word": ["the", "a", "né"] * 1000, "count": range(3000)})
NUMBERS = np.arange(60_000, dtype="i8").reshape(300, 200)


@pytest.fixture(params=["ux", "s3"])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def running(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[SigmaFileSystem]:
    """The running instance is what programs find without options."""
    monkeypatch.setenv("SIGMAOS_STATE_DIR", str(site.state_file.parent))
    fs: SigmaFileSystem = fsspec.filesystem("sigma")
    yield fs
    fs.close()


def test_zarr(place: str) -> None:
    url = f"sigma://{place}/new/group.zarr"
    group = zarr.open_group(url, mode="w")
    array = group.create_array("numbers", shape=NUMBERS.shape, chunks=(100, 100), dtype="i8")
    array[:] = NUMBERS
    again: Any = zarr.open_group(url, mode="r")["numbers"]
    np.testing.assert_array_equal(again[50:120, ::7], NUMBERS[50:120, ::7])
    assert list(zarr.open_group(url, mode="r")) == ["numbers"]


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's own
def test_dask_in_threads(place: str) -> None:
    url = f"sigma://{place}/new/frame"
    dd.from_pandas(FRAME, npartitions=3).to_parquet(url, compute_kwargs={"scheduler": "threads"})
    assert int(dd.read_parquet(url)["count"].sum().compute(scheduler="threads")) == FRAME["count"].sum()


def test_dask_in_processes(place: str) -> None:
    url = f"sigma://{place}/new/*.csv"
    dd.from_pandas(FRAME, npartitions=2).to_csv(url, index=False, compute_kwargs={"scheduler": "threads"})
    words = dd.read_csv(url)
    assert int(words["count"].sum().compute(scheduler="processes", num_workers=2)) == FRAME["count"].sum()


def test_duckdb(place: str, running: SigmaFileSystem) -> None:
    with duckdb.connect() as db:
        db.register_filesystem(running)
        db.execute(f"COPY (SELECT range AS n FROM range(1000)) TO 'sigma://{place}/n.parquet' (FORMAT parquet)")
        assert db.execute(f"SELECT sum(n) FROM 'sigma://{place}/*.parquet'").fetchall() == [(499_500,)]
        db.execute(f"COPY (SELECT 1 AS a, 'né' AS b) TO 'sigma://{place}/n.csv' (FORMAT csv)")
        assert db.execute(f"SELECT * FROM 'sigma://{place}/n.csv'").fetchall() == [(1, "né")]


def test_polars(place: str) -> None:
    frame = pl.DataFrame({"word": ["the", "a"], "count": [2, 1]})
    with fsspec.open(f"sigma://{place}/new/words.parquet", "wb") as file:
        frame.write_parquet(file)
    with fsspec.open(f"sigma://{place}/new/words.parquet") as file:
        assert pl.read_parquet(file).equals(frame)
    assert pl.read_parquet(f"sigma://{place}/new/words.parquet", use_pyarrow=True).equals(frame)
    with fsspec.open(f"sigma://{place}/words.csv", "wb") as file:
        frame.write_csv(file)
    with fsspec.open(f"sigma://{place}/words.csv") as file:
        assert pl.read_csv(file).equals(frame)


def test_h5py(place: str) -> None:
    url = f"sigma://{place}/new/numbers.h5"
    with fsspec.open(f"simplecache::{url}", "wb") as local, h5py.File(local.name, "w") as h5:
        h5["numbers"] = NUMBERS
    with fsspec.open(url) as file, h5py.File(file) as h5:
        np.testing.assert_array_equal(h5["numbers"][50:120, ::7], NUMBERS[50:120, ::7])


@pytest.mark.parametrize("server", ["ux"])
def test_h5py_in_place(place: str, running: SigmaFileSystem) -> None:
    url = f"sigma://{place}/new/numbers.h5"
    running.touch(url)
    for mode in ("w", "a"):
        with fsspec.open(url, "r+b") as file, h5py.File(file, mode) as h5:
            h5[f"numbers-{mode}"] = NUMBERS
    with fsspec.open(url) as file, h5py.File(file) as h5:
        np.testing.assert_array_equal(h5["numbers-a"][:], h5["numbers-w"][:])


def test_zip(place: str) -> None:
    url = f"sigma://{place}/new/words.zip"
    with fsspec.open(url, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/words.csv", FRAME.to_csv(index=False))
    pd.testing.assert_frame_equal(pd.read_csv(f"zip://a/words.csv::{url}"), FRAME)
    assert fsspec.filesystem("zip", fo=url).find("") == ["a/words.csv"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # blockcache leaves its file open
@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
def test_caches(place: str, tmp_path: Path, running: SigmaFileSystem, cache: str) -> None:
    path = f"{place}/new/words.csv"
    for data in (b"one", b"new") if cache == "simplecache" else (b"one", b"two"):
        running.pipe_file(path, data)
        options = {cache: {"cache_storage": str(tmp_path), **({} if cache == "simplecache" else {"check_files": True})}}
        fsspec.filesystem(cache, target_protocol="sigma", **options[cache])
        with fsspec.open(f"{cache}::sigma://{path}", **options) as file:
            assert file.read() == (b"one" if cache == "simplecache" else data)
    with fsspec.open(f"simplecache::sigma://{place}/new/written", "wb", simplecache=options.get(cache)) as file:
        file.write(b"through")
    assert running.cat_file(f"{place}/new/written") == b"through"


def test_directories_come_by_themselves(place: str, running: SigmaFileSystem, server: str) -> None:
    FRAME.to_csv(f"sigma://{place}/a/b/words.csv", index=False)
    assert running.isfile(f"{place}/a/b/words.csv")
    strict = SigmaFileSystem(auto_mkdir=False)
    if server == "ux":
        with pytest.raises(FileNotFoundError):
            strict.pipe_file(f"{place}/c/d", b"x")
        with pytest.raises(FileNotFoundError), strict.open(f"{place}/c/d", "wb") as file:
            file.write(bytes(3_000_000))
    strict.close()


def test_many_threads_that_write(place: str, running: SigmaFileSystem) -> None:
    def write(number: int) -> None:
        with fsspec.open(f"sigma://{place}/new/{number % 3}/{number}", "wb") as file:
            file.write(b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(24)))
    assert sorted(running.cat(running.find(f"{place}/new")).values()) == sorted(b"%d" % number for number in range(24))
