"""A Ray of the tests' own, started as often as it takes on a busy machine."""

from __future__ import annotations

import gc
import warnings
from typing import Any, Final

import psutil
import ray

TRIES_MAX: Final = 3


def start_ray(directory: str, **options: Any) -> None:
    """``ray.init`` with its temporary files in a directory. Whoever starts it shuts it down."""
    for left in reversed(range(TRIES_MAX)):
        try:
            ray.init(
                namespace="procs-test",
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=100 << 20,
                _temp_dir=directory,
                **options,
            )
            return
        except Exception as error:  # Ray has no class for it
            ray.shutdown()
            if not left or "timed out during startup" not in str(error):  # its 30 s are fixed
                raise
        _end_all_of(directory)


def _end_all_of(directory: str) -> None:
    """Ray leaves what it had started when its start fails."""
    for process in psutil.process_iter(["cmdline"]):
        if any(directory in word for word in process.info["cmdline"] or ()):
            process.kill()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of Ray's own handles on them
        gc.collect()
