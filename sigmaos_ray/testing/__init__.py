"""The public test harness: an instance for your tests (``Tstate``), a pytest plugin, a sample corpus.

Importing this package is cheap; Ray and boto3 are imported when an instance is started.
"""

from sigmaos_ray.testing.tstate import Tstate

__all__ = ["Tstate"]
