"""Runs the tests in two pytest processes side by side: much of what they do is to wait for processes to come and go.

Usage: rings.py [PYTEST-OPTION...] PATH... -- [PYTEST-OPTION...] PATH...
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from typing import NoReturn

_END_S = 60.0
"""pytest ends what it started before it ends itself."""


def main(arguments: list[str]) -> int:
    """The second's output is shown as it comes, the first's at the end. 0 if both passed. Neither outlives this."""
    if "--" not in arguments:
        print(__doc__, file=sys.stderr)
        return 2
    middle = arguments.index("--")
    first, second = arguments[:middle], arguments[middle + 1 :]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    # A shell's background jobs ignore it; the tests of Ctrl-C, and the end of the other half, need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryFile("w+") as output:
        try:
            running.append(subprocess.Popen(_pytest(first), stdout=output, stderr=subprocess.STDOUT))
            running.append(subprocess.Popen(_pytest(second)))
            codes = [running[1].wait()]
            print(f"\n{' '.join(first)}: shown when they are done", flush=True)
            codes.append(running[0].wait())
        except KeyboardInterrupt:
            return 130
        finally:
            _end_all(running)
            output.seek(0)
            print(output.read())
    return max(codes)


def _pytest(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _end_all(running: list[subprocess.Popen[bytes]]) -> None:
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # by which pytest runs the ends of its fixtures
    for process in running:
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
