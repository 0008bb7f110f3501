"""How programs name what they keep: a job, a store or a service is called as a file of the namespace may be."""

from __future__ import annotations

from sigmaos_ray import serr
from sigmaos_ray.sigmap import path


def checked_name(name: str, what: str) -> str:
    """The name itself. Inval, saying ``what`` it is the name of, if no file can be called that."""
    reason = path.why_bad_name(name)
    if reason is None and path.is_union(name):
        reason = "a reserved name"
    if reason is not None:
        raise serr.Inval(name, f"the name of {what}: {reason}")
    return name
