"""Faults by selector: when they fire (G-20)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import crash, serr

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def none_stay() -> Iterator[None]:
    yield
    crash.configure("")


def sigmafail(seed: int | None = None, **events: dict[str, object]) -> str:
    return json.dumps({"events": events, **({} if seed is None else {"seed": seed})})


def fired(label: str, times: int) -> list[int]:
    """At which passings of a partition's point it fired."""
    fired_at: list[int] = []
    now = [0]
    crash.point(label)._cut = lambda: fired_at.append(now[0])
    for now[0] in range(times):  # the callback reads it
        crash.point(label).passed()
    return fired_at


def test_off_unless_asked_for() -> None:
    point = crash.point("TEST_A_CRASH")
    assert not point.on
    point.passed()  # and we are still here
    crash.configure(sigmafail(TEST_A_CRASH={}))
    assert point.on
    assert crash.point("TEST_A_CRASH") is point
    crash.configure("")
    assert not point.on


def test_probability_and_seed() -> None:
    def run(seed: int, who: str = "") -> list[int]:
        crash.configure(sigmafail(seed, TEST_B_PARTITION={"prob": 0.3, "path": str(ROOT / "missing")}), who=who)
        assert fired("TEST_B_PARTITION", 3) == []
        crash.configure(sigmafail(seed, TEST_B_PARTITION={"prob": 0.3, "start_ms": 1e9}), who=who)
        assert fired("TEST_B_PARTITION", 3) == []
        crash.configure(sigmafail(seed, TEST_B_PARTITION={"prob": 0.3, "path": str(ROOT)}), who=who)
        return fired("TEST_B_PARTITION", 200)

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert run(1, "a") != run(1, "b")
    assert 30 < len(run(1)) < 90


def test_at_most_n_times() -> None:
    crash.configure(sigmafail(TEST_C_PARTITION={"n": 2, "start_ms": 1e9}))
    point = crash.point("TEST_C_PARTITION")
    crash.configure(sigmafail(TEST_C_PARTITION={"n": 2}))
    hits: list[None] = []
    point._cut = lambda: hits.append(None)
    for _ in range(5):
        point.passed()
    assert len(hits) == 2


def test_an_event_fires_again_and_again() -> None:
    crash.configure(sigmafail(TEST_D_PARTITION={"maxinterval_ms": 1}))
    thrice = threading.Event()
    hits: list[None] = []

    def cut() -> None:
        hits.append(None)
        if len(hits) == 3:
            thrice.set()

    with crash.arm("TEST_D_PARTITION", cut) as armed:
        assert thrice.wait(30)
    count = len(hits)
    armed.close()
    assert not any(thread.name == "fail-TEST_D_PARTITION" for thread in threading.enumerate())
    assert len(hits) == count


def test_an_event_waits_for_a_file(tmp_path: Path) -> None:
    file = tmp_path / "now"
    crash.configure(sigmafail(TEST_E_PARTITION={"path": str(file)}))
    cut = threading.Event()
    with crash.arm("TEST_E_PARTITION", cut.set):
        assert not cut.wait(0.1)
        file.touch()
        assert cut.wait(30)


async def test_a_delay_holds_up_only_who_passes() -> None:
    crash.configure(sigmafail(TEST_F_DELAY={"delay_ms": 1, "n": 2}))
    await crash.point("TEST_F_DELAY").passed_by_task()
    crash.point("TEST_F_DELAY").passed()
    assert crash.point("TEST_F_DELAY")._fired_count == 2


def test_a_crash_ends_the_process_at_once() -> None:
    program = (
        "from sigmaos_ray import crash\ntry:\n    crash.point('X_CRASH').passed()\nfinally:\n    print('cleaned up')"
    )
    env = {"SIGMAFAIL": sigmafail(X_CRASH={}), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == crash.CRASH_CODE
    assert "X_CRASH fires" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("text", "text_of_error"),
    [
        ("{", "truncated"),
        ('{"events": {"UX_CRASH": {"prob": 2}}}', "prob 2.0 is not between 0 and 1"),
        ('{"events": {"UX_CRASH": {"maxintervall_ms": 2}}}', "maxintervall_ms"),
        ('{"events": {"UX_CRUSH": {}}}', "UX_CRUSH ends in none of"),
        ('{"events": {"UX_DELAY": {}}}', "UX_DELAY needs delay_ms"),
        ('{"events": {"UX_CRASH": {"n": -1}}}', "not negative"),
        ("[]", "Expected `object`"),
    ],
)
def test_what_is_no_sigmafail(text: str, text_of_error: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(serr.Inval, match=re.escape(text_of_error)):
        crash.parse(text)
    crash.configure(text)
    assert text_of_error in capsys.readouterr().err
    assert not crash.point("UX_CRASH").on


def test_labels_that_say_no_action() -> None:
    with pytest.raises(ValueError, match="ends in none of"):
        crash.point("UX_CRUSH")
