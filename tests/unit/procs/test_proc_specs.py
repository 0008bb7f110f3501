"""What a schedd takes from clients that are not ours."""

from __future__ import annotations

import math

import pytest

from kernel.schedd.node_procs import check_spec
from sigmaos_ray import serr
from sigmaos_ray.pb import proc_pb2 as pb


@pytest.mark.parametrize("number", [-1.0, math.inf, math.nan])
@pytest.mark.parametrize("field", ["mcpu", "mem_mb"])
def test_resources_are_numbers_that_a_node_may_have(field: str, number: float) -> None:
    """Without end, a proc would be submitted to nobody and wait for ever."""
    check_spec(pb.ProcSpec(pid="p-1", program="example", **{field: 1}))
    with pytest.raises(serr.Inval, match="mcpu and mem_mb"):
        check_spec(pb.ProcSpec(pid="p-1", program="example", **{field: number}))
