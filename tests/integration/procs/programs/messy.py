"""Changes all that a proc may change of its process, and leaves a child behind."""

import os
import signal
import subprocess
import sys


def main(argv: list[str]) -> dict[str, object]:
    before = {
        "cwd": os.getcwd(),
        "mess": os.environ.get("MESS"),
        "umask": os.umask(0o077),
        "usr1": signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN,
        "path": "/mess" in sys.path,
        "os_pid": os.getpid(),
    }
    os.environ["MESS"] = "1"
    os.chdir("/")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    sys.path.append("/mess")
    child = subprocess.Popen(["sleep", "1000"])
    grandchild = subprocess.run(["sh", "-c", "sleep 1000 >/dev/null & echo $!"], stdout=subprocess.PIPE, check=True)
    print("a line")
    subprocess.run(["echo", "a child's line"], check=True)
    print("an error line", file=sys.stderr)
    return {**before, "children": [child.pid, int(grandchild.stdout)]}
