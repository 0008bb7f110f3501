"""Freed memory that stays with the process: large messages do not fault their pages in anew."""

from __future__ import annotations

import subprocess
import sys

from sigmaos_ray.sessp.allocator import keep_freed_memory

PROGRAM = """
import os, resource, sys
from sigmaos_ray.pb.sessp_pb2 import Frames, Reply
from sigmaos_ray.sessp.allocator import keep_freed_memory

def message():
    reply = Reply()
    reply.read.data = data
    Frames.FromString(Frames(replies=[reply]).SerializeToString())

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

kept = sys.argv[1] == "keep" and keep_freed_memory()
data = os.urandom(1 << 20)
message()
before = faults()
for _ in range(50):
    message()
print(int(kept), (faults() - before) // 50)
"""


def faults_per_message(how: str) -> tuple[bool, int]:
    """In a process of its own, since the setting cannot be taken back; and whether it is there."""
    output = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout
    is_kept, faults = output.split()
    return is_kept == "1", int(faults)


def test_a_large_message_reuses_the_memory_of_the_last_one() -> None:
    is_kept, faults = faults_per_message("keep")
    _, faults_before = faults_per_message("leave")
    assert not is_kept or faults < 16 or faults < faults_before / 4


def test_it_may_be_asked_for_again() -> None:
    assert keep_freed_memory() == keep_freed_memory()
