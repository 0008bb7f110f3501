"""Exercise 6: what a program tells of itself. Run it in this folder."""

from __future__ import annotations

from sigmaos_ray import Proc, SigmaClnt
from sigmaos_ray.testing import Tstate


def log_of(sc: SigmaClnt, pid: str) -> str:
    """The log of a proc, wherever it ran."""
    for entry in sc.get_dir("name/schedd/"):
        try:
            return sc.get_file(f"name/schedd/{entry.name}/logs/procs/{pid}.log").decode()
        except FileNotFoundError:
            continue
    raise FileNotFoundError(pid)


def test_the_sum_and_what_is_told(tstate_all: Tstate) -> None:
    sc = tstate_all.sc
    proc = Proc("tally", ["2", "3", "2"], env={"SIGMADEBUG": "TALLY;"})
    sc.spawn(proc)
    status = sc.wait_exit(proc.pid)
    lines = [line for line in log_of(sc, proc.pid).splitlines() if " TALLY " in line]
    assert [line.rpartition(" TALLY ")[2] for line in lines] == ["add 2", "add 3", "add 2"]
    assert status.data == 7
