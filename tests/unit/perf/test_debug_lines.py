"""Debug output: selectors that change as a process runs, and ``fatal`` (G-1, G-2)."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import debug

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    debug.configure()


def test_a_selector_that_somebody_holds_changes(capsys: pytest.CaptureFixture[str]) -> None:
    log = debug.selector("TRIED")
    debug.configure("", who="echo-1", procs="")
    log("unseen")
    debug.select("TRIED;OTHER; ;")
    log("seen")
    assert debug.selected() == "OTHER;TRIED;"
    debug.select("")
    log("unseen")
    assert debug.selected() == ""
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} echo-1 TRIED seen\n", line)
    assert debug.who() == "echo-1"


def test_selecting_leaves_those_muted_who_were_not_meant() -> None:
    debug.configure("", who="echo-1", procs="other-")
    debug.select("TRIED")
    assert not debug.selector("TRIED").on
    debug.configure("", who="other-7", procs="other-")
    debug.select("TRIED;NEVER")
    assert debug.selector("TRIED").on
    assert not debug.selector("NEVER").on


def test_always_and_error_cannot_be_turned_off(capsys: pytest.CaptureFixture[str]) -> None:
    debug.select("")
    debug.always("a")
    debug.error("b")
    assert [line.split(maxsplit=2)[2] for line in capsys.readouterr().err.splitlines()] == ["ALWAYS a", "ERROR b"]


def test_fatal_says_where_and_ends() -> None:
    code = "from sigmaos_ray import debug\ndef load():\n    debug.fatal('no disk')\nload()\nprint('went on')"
    env = {"SIGMADEBUGPID": "me-1"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("FATAL me-1 load Err: no disk\n")
    assert "in load" in result.stderr


def test_text_that_is_no_utf8_is_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """A line that nobody can write would be lost, with what it had to tell."""
    debug.configure("TRIED", who="me\udcff", procs="")
    debug.selector("TRIED")("of bad\udcff")
    assert capsys.readouterr().err.endswith(" me\\udcff TRIED of bad\\udcff\n")
