"""What a schedd takes from clients that are not ours."""

from __future__ import annotations

import math

import pytest

from kernel.schedd.node_procs import check_spec
from sigmaos_ray import serr
from sigmaos_ray.pb import proc_pb2 as pb


def _spec(mcpu: float = 0.0, mem_mb: float = 0.0) -> pb.ProcSpec:
    return pb.ProcSpec(pid="p-1", program="example", mcpu=mcpu, mem_mb=mem_mb)


@pytest.mark.parametrize("number", [-1.0, math.inf, math.nan])
def test_resources_are_numbers_that_a_node_may_have(number: float) -> None:
    """Without end, a proc would be submitted to nobody and wait for ever."""
    check_spec(_spec(mcpu=1.0, mem_mb=1.0))
    for spec in (_spec(mcpu=number), _spec(mem_mb=number)):
        with pytest.raises(serr.Inval, match="mcpu and mem_mb"):
            check_spec(spec)
