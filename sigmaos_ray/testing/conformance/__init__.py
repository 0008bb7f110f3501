"""What sigmap means, as tests, for any file server: those of this project, and yours.

Give your test module three fixtures (``Suite`` says which) and import the suites: all of them from ``.suites``, or
subclass those that you want. What your server cannot do you declare (``Capabilities``); the tests then ask that it
says so. See ``docs/conformance.md``. Needs pytest and pytest-asyncio.
"""

from sigmaos_ray import extras

extras.need("pytest", "pytest_asyncio", for_="sigmaos_ray.testing.conformance")

from sigmaos_ray.testing.conformance.base import Suite, Tree
from sigmaos_ray.testing.conformance.capabilities import Capabilities
from sigmaos_ray.testing.conformance.contents import ContentsTests
from sigmaos_ray.testing.conformance.dirs import DirTests
from sigmaos_ray.testing.conformance.durability import DurabilityTests, Restart
from sigmaos_ray.testing.conformance.fencing import FenceTests
from sigmaos_ray.testing.conformance.files import FileTests
from sigmaos_ray.testing.conformance.leasing import LeaseTests
from sigmaos_ray.testing.conformance.limits import LimitTests
from sigmaos_ray.testing.conformance.links import LinkTests
from sigmaos_ray.testing.conformance.modes import OpenModeTests
from sigmaos_ray.testing.conformance.moments import MomentTests
from sigmaos_ray.testing.conformance.pipes import PipeTests
from sigmaos_ray.testing.conformance.protocol import ProtocolTests
from sigmaos_ray.testing.conformance.puts import PutTests
from sigmaos_ray.testing.conformance.races import ConcurrencyTests
from sigmaos_ray.testing.conformance.refusals import needs
from sigmaos_ray.testing.conformance.renames import RenameTests
from sigmaos_ray.testing.conformance.semaphores import SemaphoreTests
from sigmaos_ray.testing.conformance.sessions import SessionTests
from sigmaos_ray.testing.conformance.stats import StatTests
from sigmaos_ray.testing.conformance.transactions import TransactionTests
from sigmaos_ray.testing.conformance.unions import UnionTests
from sigmaos_ray.testing.conformance.watching import WaitTests, WatchTests

__all__ = [
    "Capabilities",
    "ConcurrencyTests",
    "ContentsTests",
    "DirTests",
    "DurabilityTests",
    "FenceTests",
    "FileTests",
    "LeaseTests",
    "LimitTests",
    "LinkTests",
    "MomentTests",
    "OpenModeTests",
    "PipeTests",
    "ProtocolTests",
    "PutTests",
    "RenameTests",
    "Restart",
    "SemaphoreTests",
    "SessionTests",
    "StatTests",
    "Suite",
    "TransactionTests",
    "Tree",
    "UnionTests",
    "WaitTests",
    "WatchTests",
    "needs",
]
