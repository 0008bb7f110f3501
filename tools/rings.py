"""Runs the tests in two pytest processes side by side: those that mostly compute, and those that mostly wait for
processes to come and go. Together they take little more time than the second alone.

Usage: rings.py [PYTEST-OPTION...] COMPUTING-PATH... -- [PYTEST-OPTION...] WAITING-PATH...
"""

from __future__ import annotations

import subprocess
import sys
import tempfile


def main(arguments: list[str]) -> int:
    """The second's output is shown as it comes, the first's at the end. 0 if both passed."""
    if "--" not in arguments:
        print(__doc__, file=sys.stderr)
        return 2
    middle = arguments.index("--")
    computing, waiting = arguments[:middle], arguments[middle + 1 :]
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen(_pytest(computing), stdout=output, stderr=subprocess.STDOUT)
        try:
            code = _run(_pytest(waiting))
            print(f"\n{' '.join(computing)}:", flush=True)
            beside_code = beside.wait()
        except KeyboardInterrupt:  # both are in the terminal's group, and heard of it themselves
            beside.wait()
            return 130
        output.seek(0)
        print(output.read())
    return code or beside_code


def _pytest(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


def _run(command: list[str]) -> int:
    with subprocess.Popen(command) as running:
        try:
            return running.wait()
        except KeyboardInterrupt:
            running.wait()
            raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
