"""A Ray of the tests' own, in a process that ends with them.

Not by ``ray.init`` here: Ray forks its servers and runs Python before their exec, which hangs once in a while in a
process that has gRPC's threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent
_END_WAIT_S: Final = 30

_HOLD_ONE: Final = """
import json, sys, ray
from kernel.raylib import own
options = json.loads(sys.argv[1])
with own.without_dashboard():
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="error", **options)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""


@contextlib.contextmanager
def own_ray(**options: Any) -> Iterator[str]:
    """A Ray with those options of ``ray.init``, and the tests' programs where its workers look. Gives its address."""
    directory = tempfile.mkdtemp(prefix="sray-")
    options = {"object_store_memory": 100 << 20, "num_cpus": 2, "_temp_dir": directory} | options
    paths = os.pathsep.join([str(HERE.parents[2]), str(HERE)])
    environment = os.environ | {
        "PYTHONPATH": paths,
        "RAY_AUTH_MODE": "disabled",  # as it is for whoever joins and says nothing
        "RAY_gcs_server_port_wait_time_s": "120",
    }
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-c", _HOLD_ONE, json.dumps(options)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "Ray did not start"
            yield address
        finally:
            process.stdin.close()
            try:
                process.wait(_END_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """This process as a driver of that Ray."""
    ray.init(address=address, namespace="procs-test", log_to_driver=False)
    yield
    ray.shutdown()
