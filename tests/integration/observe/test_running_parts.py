"""``sigmaos stats``, ``debug`` and ``perf`` on what runs; health and reflection of each server."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from sigmaos_ray import Proc, serr
from sigmaos_ray.pb import observe_pb2 as pb
from sigmaos_ray.rpcclnt import RPCClnt
from sigmaos_ray.sigmasrv import SigmaSrv

if TYPE_CHECKING:
    from command import Sigmaos

    from sigmaos_ray.testing import Tstate

SERVICE = "sigmaos_ray.pb.Sigma"
SERVERS = ("name", "name/schedd/~local", "name/ux/~local", "name/s3/~local")
WAIT_S = 30.0


def log_has(sigmaos: Sigmaos, which: str, pattern: str) -> bool:
    """Waits for a line in a log."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        if re.search(pattern, sigmaos("logs", which).stdout):
            return True
    return False


def ok(sigmaos: Sigmaos, *arguments: str) -> str:
    result = sigmaos(*arguments)
    assert (result.returncode, result.stderr) == (0, ""), (
        f"sigmaos {' '.join(arguments)}: {result.stdout}{result.stderr}"
    )
    return result.stdout


# -- health and reflection


@pytest.mark.parametrize("pathname", SERVERS)
def test_each_server_answers_health_and_reflection(tstate_all: Tstate, pathname: str) -> None:
    sc = tstate_all.sc
    pn = sc.resolve_mounts(pathname)
    endpoint = sc.get_named_endpoint() if pn == "name" else sc.read_endpoint(pn)
    check_answers(endpoint.addrs[0])


def check_answers(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            reply = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=WAIT_S)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        database = ProtoReflectionDescriptorDatabase(channel)
        assert SERVICE in database.get_services()
        assert "grpc.health.v1.Health" in database.get_services()
        method = DescriptorPool(database).FindServiceByName(SERVICE).methods_by_name["Session"]
        assert method.input_type.full_name == "sigmaos_ray.pb.Frames"


def test_a_server_of_users_does_too_and_tells_its_end(tstate_all: Tstate) -> None:
    with SigmaSrv("name/observed", sc=tstate_all.sc) as server:
        address = server.endpoint.addrs[0]
        check_answers(address)
        channel = grpc.insecure_channel(address)
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
    assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watching.cancel()
    channel.close()


# -- stats


@pytest.mark.parametrize("pathname", SERVERS)
def test_stats_of_each_server(tstate_all: Tstate, sigmaos: Sigmaos, pathname: str) -> None:
    tstate_all.sc.get_dir(f"{pathname}/")
    output = ok(sigmaos, "stats", pathname)
    assert re.search(r"^up \d+ s, \d+ sessions, \d+ fids, \d+ watches$", output, re.MULTILINE)
    assert re.search(r"^load [\d. ]+ \(1, 10, 60 s\), \d+ in flight, \d+ % of a core$", output, re.MULTILINE)
    assert re.search(r"^attach +\d+ +[\d.]+ +\d", output, re.MULTILINE)
    report = json.loads(ok(sigmaos, "stats", pathname, "--json"))
    assert report["latency"]["attach"]["count"] >= 1
    assert report["load"]["in_flight"] >= 1  # this read itself


def test_counts_latencies_and_errors_go_with_the_requests(tstate_all: Tstate) -> None:
    sc = tstate_all.sc
    before = sc.read_srv_stats("name")
    for _ in range(10):
        sc.put_file("name/counted", b"x")
    sc.remove("name/counted")
    with pytest.raises(serr.NotFound):
        sc.get_file("name/counted")
    after = sc.read_srv_stats("name")
    assert after["ops"]["putfile"] >= before["ops"].get("putfile", 0) + 10
    assert after["latency"]["putfile"]["count"] == after["ops"]["putfile"]
    assert after["errors"]["notfound"] > before["errors"].get("notfound", 0)
    assert 0 < after["latency"]["putfile"]["p50_us"] <= after["latency"]["putfile"]["max_us"]


def test_rpcs_are_counted_by_method(tstate_all: Tstate) -> None:
    sc = tstate_all.sc
    clnt = RPCClnt(sc, "name")
    clnt.rpc("Observe.Selectors", pb.SelectorsRequest(), pb.SelectorsReply)
    clnt.close()
    stats = sc.read_rpc_stats("name")["Observe.Selectors"]
    assert stats["calls"] >= stats["count"] >= 1
    assert stats["max_us"] > 0


def test_stages_of_a_spawn(tstate_all: Tstate, sigmaos: Sigmaos) -> None:
    sc = tstate_all.sc
    proc = Proc("example")
    sc.spawn(proc)
    assert sc.wait_exit(proc.pid, WAIT_S).is_ok()
    stages = sc.read_srv_stats(sc.resolve_mounts("name/schedd/~local"))["spawn_latency"]
    assert list(stages) == ["schedd", "ray", "setup", "run", "end"]
    assert len({stage["count"] for stage in stages.values()}) == 1
    assert all(stage["max_us"] > 0 for stage in stages.values())
    assert "spawn: setup" in ok(sigmaos, "stats", "name/schedd/~local")


def test_stats_of_what_is_no_server(sigmaos: Sigmaos) -> None:
    for pathname in ("name/nothing", "name/ux/~local/nothing"):
        result = sigmaos("stats", pathname)
        assert result.returncode == 1
        assert f"{pathname} (no server is there)" in result.stderr


# -- debug


def test_selectors_of_a_running_server(tstate_all: Tstate, sigmaos: Sigmaos) -> None:
    sc = tstate_all.sc
    ux = sc.resolve_mounts("name/ux/~local").rpartition("/")[2]
    before = ok(sigmaos, "debug", "name/ux/~local").split(": ")[1].strip()
    assert ok(sigmaos, "debug", "name/ux/~local", "PROTSRV;WATCH;") == f"ux-{ux}: PROTSRV;WATCH;\n"
    sc.put_file("name/ux/~local/seen", b"")
    assert log_has(sigmaos, f"ux-{ux}", rf"\d\d:\d\d:\d\d\.\d{{6}} ux-{ux} PROTSRV [0-9a-f]+ putfile \d+ us")
    assert json.loads(ok(sigmaos, "debug", "name/ux/~local", "", "--json")) == {"who": f"ux-{ux}", "selectors": []}
    ok(sigmaos, "debug", "name/ux/~local", "" if before == "none" else before)
    sc.remove("name/ux/~local/seen")


def test_lines_of_procs_reach_the_logs(sigmaos: Sigmaos, busy: str) -> None:
    assert log_has(sigmaos, busy, rf"^\d\d:\d\d:\d\d\.\d{{6}} {busy} BUSY spins and spins$".replace("^", "(?m)^", 1))


def test_spawn_latency_is_told_under_its_selector(tstate_all: Tstate, sigmaos: Sigmaos) -> None:
    sc = tstate_all.sc
    schedd = sc.resolve_mounts("name/schedd/~local")
    ok(sigmaos, "debug", schedd, "SPAWN_LAT")
    proc = Proc("example")
    sc.spawn(proc)
    sc.wait_exit(proc.pid, WAIT_S)
    stages = ", ".join(rf"{stage} [\d.]+ ms" for stage in ("schedd", "ray", "setup", "run", "end"))
    pattern = rf"SPAWN_LAT {proc.pid} example: {stages}; total [\d.]+ ms"
    assert log_has(sigmaos, f"schedd-{schedd.rpartition('/')[2]}", pattern)
    ok(sigmaos, "debug", schedd, "")


def test_debug_of_what_is_no_server(sigmaos: Sigmaos) -> None:
    assert "name/nothing (no server is there)" in sigmaos("debug", "name/nothing").stderr
    assert "say --list, or a PATH" in sigmaos("debug").stderr
    assert "PROTSRV" in ok(sigmaos, "debug", "--list")


# -- perf


def test_profile_of_a_proc(sigmaos: Sigmaos, busy: str) -> None:
    report = json.loads(ok(sigmaos, "perf", busy, "--seconds", "1", "--json"))
    frames = {frame["frame"].partition(" ")[0]: frame["all"] for frame in report["frames"]}
    assert frames["spin"] > 0
    assert (report["who"], report["unit"]) == (busy, "microseconds")
    assert report["how"]
    assert [Path(file).name.partition("-pprof")[2] for file in report["files"]] == [".out", ".svg", ".speedscope.json"]
    assert "spin" in Path(report["files"][1]).read_text()


def test_profile_inside_a_proc(sigmaos: Sigmaos, busy: str) -> None:
    report = json.loads(ok(sigmaos, "perf", busy, "--seconds", "0.5", "--kind", "block", "--json"))
    assert "pprof-block is recorded inside the process" in report["how"]
    assert any(frame["frame"].startswith("ProcLease.") for frame in report["frames"])


@pytest.mark.parametrize("kind", ["cpu", "mem", "mutex", "block"])
def test_profile_of_a_server(tstate_all: Tstate, sigmaos: Sigmaos, kind: str) -> None:
    output = ok(sigmaos, "perf", "name/ux/~local", "--seconds", "0.3", "--kind", kind)
    assert re.match(r"ux-[\w-]+: [\d.]+ (s|MiB), by \S", output)
    assert output.splitlines()[-1].endswith(".speedscope.json")


def test_what_cannot_be_profiled_says_why(sigmaos: Sigmaos) -> None:
    assert "no such proc; a server's pathname has a slash in it" in sigmaos("perf", "nobody").stderr
    assert "name/nothing (no server is there)" in sigmaos("perf", "name/nothing").stderr
    assert "no such process on this machine" in sigmaos("perf", "999999999").stderr
    assert "--kind is one of cpu, mem, mutex, block, not 'disk'" in sigmaos("perf", "x", "--kind", "disk").stderr
    assert "_PPROF_MUTEX" in ok(sigmaos, "perf", "--list")


def test_a_program_is_profiled_by_its_name(tstate_all: Tstate, tmp_path: Path) -> None:
    sc = tstate_all.sc
    env = {"SIGMAPERF": "EXAMPLE_PPROF;EXAMPLE_CPU;", "SIGMAOS_PERF_DIR": str(tmp_path)}
    proc = Proc("example", env=env)
    sc.spawn(proc)
    assert sc.wait_exit(proc.pid, WAIT_S).is_ok()
    file_names = {f"{proc.pid}-{what}" for what in ("pprof.out", "pprof.svg", "pprof.speedscope.json", "cpu.out")}
    deadline_s = time.monotonic() + WAIT_S
    # The program reports its status before its process ends, and writes the records in between.
    while {file.name for file in tmp_path.iterdir()} != file_names:
        assert time.monotonic() < deadline_s, list(tmp_path.iterdir())
        time.sleep(0.01)
