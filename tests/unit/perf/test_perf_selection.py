"""SIGMAPERF: selectors, suffixes, files (G-4, G-5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigmaos_ray import serr
from sigmaos_ray.perf import selection
from sigmaos_ray.perf.selection import Kind


def test_each_suffix() -> None:
    spec = "A_PPROF;A_PPROF_MEM;A_PPROF_MUTEX;A_PPROF_BLOCK;A_CPU;A_TPT;A_VAL;"
    assert selection.parse(spec) == {"A": frozenset(Kind)}


def test_selectors_may_have_underscores_and_stand_alone() -> None:
    assert selection.parse("HOTEL_GEO_PPROF; ;UX_CPU") == {
        "HOTEL_GEO": frozenset({Kind.CPU}),
        "UX": frozenset({Kind.UTIL}),
    }
    assert selection.parse("") == {}


@pytest.mark.parametrize("spec", ["NAMED", "NAMED_PPROF_DISK", "_PPROF", "ux_pprof"])
def test_what_is_none_is_named(spec: str) -> None:
    with pytest.raises(serr.Inval, match=f"'{spec}' is no selector with one of _PPROF, "):
        selection.parse(spec)


def test_selected_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAPERF", "UX_TPT")
    assert selection.selected("UX") == {Kind.TPT}
    assert selection.selected("NAMED") == frozenset()
    assert selection.selected("UX", "") == frozenset()


@pytest.mark.parametrize(
    ("program", "selector"),
    [
        ("example", "EXAMPLE"),
        ("word-count", "WORD_COUNT"),
        ("pkg.mod", "MOD"),
        ("name/ux/~local/bin/run-it.sh", "RUN_IT"),
    ],
)
def test_each_program_has_a_selector(program: str, selector: str) -> None:
    assert selection.selector_of(program) == selector


def test_files_are_named_after_pid_and_suffix() -> None:
    where = Path("d")
    assert selection.file_of(where, "echo-1", Kind.MEMORY) == where / "echo-1-pprof-mem.out"
    assert selection.file_of(where, "a/b", Kind.CPU, "writer") == where / "a_b-writer-pprof.out"


def test_the_directory_is_configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMAOS_PERF_DIR", raising=False)
    assert selection.directory() == Path("/tmp/sigmaos-perf")
    monkeypatch.setenv("SIGMAOS_PERF_DIR", "elsewhere")
    assert selection.directory() == Path("elsewhere")
