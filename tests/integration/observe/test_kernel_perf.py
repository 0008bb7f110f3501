"""``SIGMAPERF`` at the start of an instance: its parts record, and write when it stops."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kernel import boot
from sigmaos_ray import serr
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from pathlib import Path


def test_named_is_profiled_from_start_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAPERF", "NAMED_PPROF;NAMED_PPROF_MUTEX;NAMED_CPU;UX_PPROF;")
    monkeypatch.setenv("SIGMAOS_PERF_DIR", str(tmp_path))
    with Tstate.path("name/") as ts:
        for number in range(200):
            ts.sc.put_file("name/f", str(number).encode())
        ts.sc.remove("name/f")
    records = {re.sub(r"^named-sigma-\w+-", "", file.name) for file in tmp_path.iterdir()}
    graphs = {f"{kind}.{end}" for kind in ("pprof", "pprof-mutex") for end in ("out", "svg", "speedscope.json")}
    assert records == {*graphs, "cpu.out"}
    (profile,) = tmp_path.glob("*-pprof.out")
    assert "named-loop" in profile.read_text()


def test_a_wrong_sigmaperf_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAPERF", "NAMED")
    with pytest.raises(serr.Inval, match="'NAMED' is no selector with one of _PPROF"):
        boot.start_instance(tmp_path / "state")
    assert not (tmp_path / "state" / "instance.json").exists()
