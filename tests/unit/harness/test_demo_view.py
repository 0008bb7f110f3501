"""The demo's own decisions: what it counts, and how it tells."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from sigmaos_ray import Status, serr
from sigmaos_ray.cli.demo import _row_of, find_inputs, run_demo
from sigmaos_ray.cli.demo_view import JsonView, Row, TerminalView, View

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [Row("a book.txt", 1200, 60, "sigma-12345678", 0.25), Row("b.txt", failure="no [bold] luck")]
TOTAL = Row("total", 1200, 60, "1 node", 1.5)


def test_files_directly_in_the_directory(tmp_path: Path) -> None:
    for name in ("b.txt", "a book.txt", "~any"):
        (tmp_path / name).write_text("the")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "deep.txt").write_text("the")
    (tmp_path / "dangling").symlink_to("nowhere")
    inputs = find_inputs(tmp_path)
    assert [file.name for file in inputs.files] == ["a book.txt", "b.txt"]
    assert [line.split(":")[0] for line in inputs.skipped] == ["'dangling'", "'more'", "'~any'"]


def test_a_directory_that_is_none_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(serr.NotFound):
        run_demo(tmp_path / "absent")
    with pytest.raises(serr.Inval, match="no file in it"):
        run_demo(tmp_path)
    (tmp_path / "file").write_text("the")
    with pytest.raises(serr.NotDir):
        run_demo(tmp_path / "file")


def test_a_status_becomes_a_row() -> None:
    data = {"words": 10, "the": 2, "node": "sigma-1", "seconds": 0.5}
    assert _row_of("f", Status.info("", data)) == Row("f", 10, 2, "sigma-1", 0.5)
    assert "torn" in _row_of("f", Status.err("torn")).failure
    assert _row_of("f", Status.ok()).failure


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    view = View()
    view.begin("counting", 2)
    view.step("a book.txt")
    view.table(ROWS, TOTAL)
    assert capsys.readouterr().out.splitlines() == [
        "counting (2)",
        "  1/2 a book.txt",
        "file        words  the  node               time",
        "a book.txt  1,200   60  sigma-12345678  0.250 s",
        "b.txt           -    -  -                failed",
        "total       1,200   60  1 node          1.500 s",
        "failed: b.txt: no [bold] luck",
    ]


def test_json_leaves_standard_output_to_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    view = JsonView()
    view.begin("counting", 1)
    view.table(ROWS, TOTAL)
    output = capsys.readouterr()
    assert "counting (1)" in output.err
    report = json.loads(output.out)
    assert [row["the"] for row in report["files"]] == [60, 0]
    assert report["total"]["words"] == 1200


def test_on_a_terminal() -> None:
    out = io.StringIO()
    view = TerminalView(Console(file=out, force_terminal=True, width=80))
    view.begin("counting", 2)
    view.step("a")
    view.end()
    view.end()
    view.table(ROWS, TOTAL)
    text = out.getvalue()
    assert "a book.txt" in text
    assert "no [bold] luck" in text
    assert "1/2" in text
