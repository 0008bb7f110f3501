"""The public test harness: what your tests of programs and of file servers can use. See ``docs/testing.md``.

* ``Tstate``: an instance of SigmaOS for a test, and a client of it.
* ``plugin``: for pytest: ``--start``, ``--path``, and fixtures that share one instance. Installed with the package.
* ``conformance``: the semantics of files as tests, for any file server, yours too (``docs/conformance.md``).
* ``history``, ``linearizability``, ``models``: what clients did, recorded, and whether it could have happened.
* ``corpus``: books to count words in, the same ones each time. ``tput``: throughput in SigmaOS's words.

Importing this package is cheap; Ray and boto3 are imported when an instance is started.
"""

from sigmaos_ray.testing.tstate import Tstate

__all__ = ["Tstate"]
