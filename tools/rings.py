"""Runs the tests in two pytest processes side by side: much of what they do is to wait for processes to come and go.

Usage: rings.py [PYTEST-OPTION...] PATH... -- [PYTEST-OPTION...] PATH...
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
    first, second = arguments[:middle], arguments[middle + 1 :]
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen(_pytest(first), stdout=output, stderr=subprocess.STDOUT)
        try:
            code = _run(_pytest(second))
            print(f"\n{' '.join(first)}:", flush=True)
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
