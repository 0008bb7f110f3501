"""Every suite over every server of this project."""

from sigmaos_ray.testing.conformance.suites import *  # noqa: F403  # pytest collects what is imported
