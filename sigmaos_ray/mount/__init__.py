"""The namespace as a directory of this host, through FUSE: ``sigmaos mount DIR``.

The kernel asks for pathnames below the directory; they are pathnames of the namespace, and each question is a call of
one client. What the kernel has and the namespace has not is an errno that says so (``errnos``).
"""

from __future__ import annotations

from sigmaos_ray.mount.mounting import mount

__all__ = ["mount"]
