"""s3: the buckets of an account."""

from __future__ import annotations

from kernel.service import Service
from sigmaos_ray.selectors import Selectors

SERVICE = Service(
    name="s3",
    actor="kernel.s3.actor:S3Kernel",
    selectors=Selectors(
        debug={"S3": "the S3 proxy"},
        faults={"S3_CRASH": "event: an s3 proxy ends"},
        perf={"S3": "the S3 proxy"},
    ),
    needs=("boto3",),
    # Not the uploads under way, which stand beside them: S3 holds their parts until somebody aborts them.
    keeps=("s3/{realm}/*/fences",),
)
