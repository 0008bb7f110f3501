"""Job files (MR-1), and what a coordinator decides (MR-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Status, serr
from sigmaos_ray.ft.fttask import TaskResult, TaskStatus
from user.mr import Job
from user.mr.paths import MrPaths, anywhere, here, local, output_directory
from user.mr.state import JobFailed, JobState
from user.mr.tasks import CUT_OFF
from user.mr.tuning import COORD

if TYPE_CHECKING:
    from pathlib import Path

YAML = """
app: grep
nreduce: 3
binsz: 10 MiB
input: name/s3/~any/b/in
output: name/s3/~any/b/out
intermediate: name/s3/~any/b/tmp
linesz: 65536
wordsz: 64kB
"""


def test_a_job_file(tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text(YAML)
    job = Job.read(tmp_path / "job.yml")
    assert (job.app, job.nreduce, job.binsz, job.linesz, job.wordsz) == ("grep", 3, 10 << 20, 65536, 64000)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("nreduce: 3", "nreduce: 0", "nreduce"),
        ("nreduce: 3", "nreduce: two", "nreduce"),
        ("nreduce: 3", "reducers: 3", "reducers"),
        ("10 MiB", "ten", "binsz"),
        ("linesz: 65536", "linesz: 1GiB", "linesz"),
        ("input: name/s3/~any/b/in", "", "input"),
        ("name/s3/~any/b/out", "/tmp/out", "output"),
        ("app: grep", "app: [", "not YAML"),
        ("app: grep", 'app: ""', "app"),
    ],
)
def test_a_job_file_that_is_wrong(tmp_path: Path, old: str, new: str, text: str) -> None:
    file = tmp_path / "job.yml"
    file.write_text(YAML.replace(old, new))
    with pytest.raises(serr.Inval, match=text):
        Job.read(file)


def test_a_job_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(serr.NotFound, match="no such job file"):
        Job.read(tmp_path / "job.yml")
    (tmp_path / "job.yml").write_text("- a\n- b\n")
    with pytest.raises(serr.Inval, match="list of fields"):
        Job.read(tmp_path / "job.yml")


def test_whose_files_are_meant() -> None:
    assert local("name/ux/~local/mr", "sigma-1") == "name/ux/sigma-1/mr"
    assert anywhere("name/ux/~local/in") == "name/ux/~any/in"
    assert here("name/s3/~any/b/f") == "name/s3/~local/b/f"
    assert output_directory("name/s3/~any/b/out/", "j") == "name/s3/~local/b/out/j"
    with pytest.raises(serr.Inval, match="the name of a job"):
        MrPaths("a/b")


def ended(state: JobState, status: Status | None, number: int = 1) -> TaskStatus:
    return state.end_run("reduce", TaskResult(number, status, None if status else serr.Unreachable("x"), 1.0))


def test_a_task_that_ended_well() -> None:
    state = JobState()
    assert ended(state, Status.info("", {"out": 5})) is TaskStatus.DONE
    assert (state.counters.ntask, state.counters.nreduce, state.counters.out_bytes) == (1, 1, 5)


def test_a_reducer_that_lost_input_waits_for_the_maps_that_made_it() -> None:
    state = JobState()
    assert ended(state, Status.err("restart", [3, 1])) is TaskStatus.ERROR
    assert ended(state, Status.err("restart", [1, 2]), 2) is TaskStatus.ERROR
    assert state.take_lost() == [1, 2, 3]
    assert state.take_lost() == []
    assert (state.counters.nrestart, state.counters.nrecover_map, state.counters.nfail) == (2, 3, 0)


def test_what_was_lost_runs_again_but_not_for_ever() -> None:
    state = JobState()
    for status in [None, Status.evicted(), Status.err("unreachable", CUT_OFF)] + [Status.crash("signal: killed")] * (
        COORD.losses_max - 4
    ):
        assert ended(state, status) is TaskStatus.TODO
    with pytest.raises(JobFailed, match=f"reduce task 1 was lost {COORD.losses_max} times: .*killed"):
        ended(state, Status.crash("signal: killed"))


def test_what_its_own_program_fails_ends_the_job_soon() -> None:
    state = JobState()
    for _ in range(COORD.errors_max - 1):
        assert ended(state, Status.err("ValueError: bad")) is TaskStatus.TODO
        assert ended(state, Status.err("ValueError: other task"), 7) is TaskStatus.TODO
    with pytest.raises(JobFailed, match=r"failed 4 times: ERROR: ValueError: bad"):
        ended(state, Status.err("ValueError: bad"))


def test_what_no_try_cures_ends_the_job_at_once() -> None:
    with pytest.raises(JobFailed, match="reduce task 1: line too long"):
        ended(JobState(), Status.fatal("line too long"))
