"""The directory of a Ray that is ended goes, whoever still writes there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from kernel.boot.raysession import end_session

if TYPE_CHECKING:
    from pathlib import Path

_WRITER = """
import itertools, sys, time
began_s = time.monotonic()
for number in itertools.count():
    with open(f"{sys.argv[1]}/logs/{number}", "w"):
        pass
    if number == 0:
        print("wrote", flush=True)
    if time.monotonic() > began_s + 1:
        break
"""


def test_a_directory_in_which_somebody_still_writes(tmp_path: Path) -> None:
    session = tmp_path / "session"
    (session / "logs").mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(session)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"wrote\n"
        end_session(str(session))
        assert not session.exists()
