"""``sigmaos`` as these tests call it: with its arguments, for its exit code and what it printed."""

import subprocess
from collections.abc import Callable
from typing import TypeAlias

Sigmaos: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
