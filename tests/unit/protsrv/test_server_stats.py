"""Latencies as histograms, and the load of a server (R-8)."""

from __future__ import annotations

import json

import pytest

from sigmaos_ray.protsrv.latency import Latency
from sigmaos_ray.protsrv.stats import ServerLoad, ServerStats


def latency_of(*micros: float) -> Latency:
    latency = Latency()
    for taken_us in micros:
        latency.add(int(taken_us * 1e3))
    return latency


def test_percentiles_are_close() -> None:
    latency = latency_of(*range(1, 10_001))
    for percent in (1, 10, 50, 90, 99):
        assert latency.percentile_us(percent) == pytest.approx(percent * 100, rel=0.12)
    assert latency.percentile_us(100) == 10_000


@pytest.mark.parametrize("taken_us", [0.0, 0.4, 1.0, 5.0, 77.0, 12_345.0, 1e6, 1e9, 1e13])
def test_one_latency_is_told_within_an_eighth(taken_us: float) -> None:
    latency = latency_of(taken_us)
    report = latency.report()
    assert report["p50_us"] <= report["max_us"] == pytest.approx(taken_us, abs=0.1)
    (begins_us, count) = report["slots"][0]
    assert count == 1
    assert begins_us <= taken_us + 0.1
    if 8 < taken_us < 1e12:
        assert taken_us < begins_us * 1.26


def test_a_report_sums_up() -> None:
    report = latency_of(10, 20, 60).report()
    assert (report["count"], report["total_us"], report["mean_us"], report["max_us"]) == (3, 90, 30.0, 60.0)
    assert sum(count for _, count in report["slots"]) == 3
    assert Latency().report()["mean_us"] == 0.0


def test_load_is_work_per_time() -> None:
    load = ServerLoad(100.0, 0.0)
    for second in range(1, 601):
        load.tick(100.0 + second, worked_s=2.5 * second, cpu_s=0.5 * second)
    assert load.averages == pytest.approx([2.5] * 3, rel=1e-3)
    assert load.util_percent == pytest.approx(50)
    assert load.queue_mean(700.0) == pytest.approx(2.5)
    load.tick(701.0, worked_s=1500.0, cpu_s=300.0)  # nothing more was done
    assert load.averages[0] < load.averages[1] < load.averages[2] < 2.5
    assert load.util_percent == 0


def test_what_waits_is_no_load() -> None:
    stats = ServerStats()
    stats.latencies["read_waits"].add(10**12)
    stats.latencies["writeread"].add(10**12)
    stats.latencies["read"].add(10**9)
    assert stats._worked_s() == 1.0


def test_calls_that_run_and_calls_that_ended() -> None:
    stats = ServerStats()
    stats.rpcs["Echo.Echo"] = 3
    stats.rpc_latencies["Echo.Echo"].add(2_000_000)
    report = json.loads(stats.rpcs_to_json())["Echo.Echo"]
    assert (report["calls"], report["count"], report["total_us"], report["max_us"]) == (3, 1, 2000, 2000.0)
