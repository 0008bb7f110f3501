"""Jobs from end to end, against a sequential count (MR-1 to MR-8)."""

from __future__ import annotations

import gzip
import json
import re
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import zstandard
from mrlab import Gate, Texts, counts, gated, raw_output, until, until_progress

from sigmaos_ray import serr
from user.mr import App, Job, MapReduce, list_jobs, output_of, run, stop_job
from user.mr.grep import WANTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate
    from user.mr.app import Emit

SIGMAOS = str(Path(sys.executable).with_name("sigmaos"))


def names_in(sc: SigmaClnt, pn: str) -> list[str]:
    try:
        return [stat.name for stat in sc.get_dir(pn)]
    except serr.NotFound:
        return []


def test_word_count(sc: SigmaClnt, texts: Texts) -> None:
    with MapReduce(sc, texts.job(app="wc", nreduce=3)) as running:
        result = running.wait()
    assert counts(sc, result) == texts.words()
    assert result.input_bytes == result.counters.in_bytes == sum(map(len, texts.files.values()))
    assert (result.counters.nreduce, result.counters.nfail, len(result.outputs)) == (3, 0, 3)

    job = result.job
    stats = [json.loads(line) for line in sc.get_file(f"name/mr/{job}/stats.txt").splitlines()]
    maps = [stat for stat in stats if stat["IsM"]]
    assert sum(stat["In"] for stat in maps) == result.input_bytes
    assert sum(stat["Out"] for stat in maps) == sum(stat["In"] for stat in stats if not stat["IsM"])
    assert all(stat["KernelID"] and stat["MsInner"] > 0 for stat in stats)

    manifest = sc.get_file_json(f"{texts.root}/out/{job}/_SUCCESS")
    assert sorted([*manifest["files"], "_SUCCESS"]) == sorted(names_in(sc, f"{texts.root}/out/{job}"))
    # Nothing but the output and what the job says of itself is left.
    assert job not in names_in(sc, f"name/ux/{stats[0]['KernelID']}/mr")
    assert not [name for name in names_in(sc, "name/grpmgr") if job in name]
    assert not [name for name in names_in(sc, "name/fttask-state") if job in name]


def test_each_line_of_output_is_in_the_file_of_its_reducer(sc: SigmaClnt, texts: Texts) -> None:
    from user.mr.shuffle import reducer_of

    result = run(sc, texts.job(nreduce=4))
    for number, data in enumerate(raw_output(sc, result.job)):
        keys = [line.partition(b"\t")[0] for line in data.splitlines()]
        assert keys == sorted(keys)
        assert {reducer_of(key, 4) for key in keys} == {number}


def test_grep(sc: SigmaClnt, texts: Texts) -> None:
    wanted = {word: count for word, count in texts.words().items() if word in WANTED}
    assert set(wanted) == {b"Java", b"Python", b"Perl", b"Scala"}
    assert counts(sc, run(sc, texts.job(app="grep"))) == wanted


def map_first_letters(_name: str, lines: Iterator[bytes], emit: Callable[[bytes | str, Any], None]) -> None:
    for line in lines:
        if text := line.decode(errors="replace").strip():
            emit(text[0], len(line))


def longest(_key: bytes | str, values: list[int]) -> int:
    return max(values)


def test_functions_of_ones_own_and_intermediate_files_in_s3(sc: SigmaClnt, texts: Texts) -> None:
    job = texts.job(intermediate=f"{texts.root}/tmp")
    result = run(sc, job, App(map=map_first_letters, combine=longest, reduce=longest, name="letters"))
    wanted: dict[bytes, int] = {}
    for data in texts.files.values():
        for line in data.split(b"\n"):
            if text := line.decode(errors="replace").strip():
                key = text[0].encode()
                wanted[key] = max(wanted.get(key, 0), len(line))
    assert counts(sc, result) == wanted
    assert result.job not in names_in(sc, f"{texts.root}/tmp")


def test_input_that_is_one_file_and_all_of_it_in_ux(sc: SigmaClnt) -> None:
    pn = "name/ux/~local/mr-input"
    sc.put_file(pn, b"a b\nb\n")
    result = run(sc, Job(input=pn, output="name/ux/~local/mr-output/here", coordinators=1, binsz=2))
    assert counts(sc, result) == {b"a": 1, b"b": 2}
    assert "_SUCCESS" in names_in(sc, f"name/ux/~local/mr-output/here/{result.job}")
    sc.remove(pn)
    sc.rmdir("name/ux/~local/mr-output")


def test_input_without_a_word(sc: SigmaClnt, texts: Texts) -> None:
    result = run(sc, texts.job(input=f"{texts.input}/given/empty"))
    assert counts(sc, result) == {}
    assert raw_output(sc, result.job) == [b"", b""]


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"input": "name/s3/~any/mr-tests/nowhere"}, serr.NotFound, "nowhere"),
        ({"app": "no.such.app"}, serr.Inval, "No module named"),
        ({"local": "/nowhere"}, serr.NotFound, "local"),
        # Which S3 does not make: a name of two characters is too short for a bucket.
        ({"output": "name/s3/~any/no/out"}, serr.SigmaError, "/no"),
    ],
)
def test_a_job_that_cannot_begin(
    sc: SigmaClnt, texts: Texts, changes: dict[str, str], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        run(sc, texts.job(**changes))


def test_names_are_used_once(sc: SigmaClnt, texts: Texts) -> None:
    job = texts.job(input=f"{texts.input}/given/no-end")
    name = f"mine-{secrets.token_hex(4)}"
    first = run(sc, job, name=name)
    with pytest.raises(serr.Exists, match="a job of that name"):
        run(sc, job, name=name)
    assert counts(sc, first)[b"Python"] == 2


@pytest.mark.parametrize(
    ("changes", "broken", "text"),
    [
        ({}, "map", "ValueError: no good"),
        ({}, "reduce", "ValueError: no good"),
        ({"linesz": 1000}, "", r"given/one-line.*linesz = 1000"),
    ],
)
def test_a_job_that_cannot_be_done_has_no_output(
    sc: SigmaClnt, texts: Texts, changes: dict[str, int], broken: str, text: str
) -> None:
    def fail(*_args: object) -> None:
        raise ValueError("no good")

    app = App(map=fail if broken == "map" else map_first_letters, reduce=fail if broken == "reduce" else longest)
    result = run(sc, texts.job(**changes), app)
    assert not result.ok
    assert re.search(text, result.error)
    with pytest.raises(serr.NotFound):
        output_of(sc, result.job)
    assert "_SUCCESS" not in names_in(sc, f"{texts.root}/out/{result.job}")


def test_jobs_are_listed_and_stopped(sc: SigmaClnt, tstate_all: Tstate, texts: Texts, gate: Gate) -> None:
    with MapReduce(sc, texts.job(coordinators=2), gated(gate)) as running, tstate_all.new_clnt() as other:
        until_progress(running, lambda progress: progress.map.running > 0)
        until(lambda: bool(gate.came("map")))

        def info() -> Any:
            return next(info for info in other.run(list_jobs(other.asynchronous)) if info.name == running.name)

        assert (info().state, info().progress.map.done) == ("running", 0)
        with pytest.raises(serr.NotFound):
            output_of(sc, running.name)
        with pytest.raises(serr.Exists):  # and leaves the one that runs alone
            run(other, texts.job(), name=running.name)
        assert info().state == "running"
        other.run(stop_job(other.asynchronous, running.name))
        assert running.wait().error == "stopped"
        assert info().state == "stopped"
    until(lambda: not [proc for proc in sc.procs() if proc.state != "exited" and running.name in proc.args])


def test_the_command(sc: SigmaClnt, tstate_all: Tstate, texts: Texts, tmp_path: Path) -> None:
    (tmp_path / "lines.py").write_text(
        "def map_block(name, block, into):\n    into.update(block.splitlines())\n\n\ncut = 'line'\n"
    )
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one").write_bytes(b"b\na\nb\n")
    job = {"app": "lines.py", "local": "books", "input": f"{texts.root}/cli-in", "output": f"{texts.root}/out"}
    (tmp_path / "job.yml").write_text(json.dumps(job))  # which is YAML too
    sigmaos = [SIGMAOS, "--state-dir", str(tstate_all.state_dir), "mr"]
    name = f"by-hand-{secrets.token_hex(4)}"

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*sigmaos, *arguments], capture_output=True, text=True, timeout=60, check=False)

    ended = call("run", str(tmp_path / "job.yml"), "--name", name, "--json")
    assert ended.returncode == 0, ended.stderr
    assert "map 1/1 done" in ended.stderr
    assert json.loads(ended.stdout)["counters"]["in_bytes"] == 6
    assert Counter(dict(output_of(sc, name))) == {b"a": b"1", b"b": b"2"}
    ended = call("ls", "--json")
    assert ended.returncode == 0, ended.stderr
    listed = json.loads(ended.stdout)
    assert [entry["state"] for entry in listed if entry["name"] == name] == ["done"]
    again = call("run", str(tmp_path / "job.yml"), "--name", name)
    assert again.returncode == 1
    assert f"{name} (there is a job of that name)" in again.stderr
    assert call("stop", "no-such-job").returncode == 1
    assert msgspec.json.decode(sc.get_file(f"name/mr/{name}/result"))["ok"]


def test_a_directory_as_other_systems_leave_it(sc: SigmaClnt) -> None:
    """Marks, hidden files and copies under way are no input; what is compressed is; lines end in either way."""
    root = f"name/ux/~local/mr-{secrets.token_hex(4)}"
    text = b"".join(b"line %d\r\n" % (number % 7) for number in range(20_000))
    others = {"_SUCCESS": b"no", ".part.crc": b"no", "_temporary/0/part": b"no", "part._COPYING_": b"no"}
    files = {"a.txt": text, "b.gz": gzip.compress(text), "deep/c.zst": zstandard.compress(text), **others}
    for name, data in files.items():
        sc.makedirs(f"{root}/in/{name}".rpartition("/")[0])
        sc.put_file(f"{root}/in/{name}", data)

    def each_line(_name: str, lines: Iterator[bytes], emit: Emit) -> None:
        for line in lines:
            emit(line, 1)

    app = App(map=each_line, reduce=lambda _key, values: sum(values))
    job = Job(input=f"{root}/in", output=f"{root}/out", binsz=50_000, coordinators=1)
    result = run(sc, job, app)
    expected = {line: 3 * count for line, count in Counter(text.replace(b"\r", b"").splitlines()).items()}
    assert counts(sc, result) == expected
    again = run(sc, Job(input=f"{root}/out/{result.job}", output=f"{root}/out", coordinators=1))
    assert again.ok
    sc.rmdir(root)
