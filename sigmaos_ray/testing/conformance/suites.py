"""Every suite under a name that pytest collects: ``from sigmaos_ray.testing.conformance.suites import *``.

``DurabilityTests`` is not among them: it needs one more fixture.
"""

from sigmaos_ray.testing import conformance

TestConcurrency = conformance.ConcurrencyTests
TestContents = conformance.ContentsTests
TestDirs = conformance.DirTests
TestFences = conformance.FenceTests
TestFiles = conformance.FileTests
TestLeases = conformance.LeaseTests
TestLimits = conformance.LimitTests
TestLinks = conformance.LinkTests
TestMoments = conformance.MomentTests
TestOpenModes = conformance.OpenModeTests
TestPipes = conformance.PipeTests
TestProtocol = conformance.ProtocolTests
TestPuts = conformance.PutTests
TestRenames = conformance.RenameTests
TestSemaphores = conformance.SemaphoreTests
TestSessions = conformance.SessionTests
TestStats = conformance.StatTests
TestTransactions = conformance.TransactionTests
TestUnions = conformance.UnionTests
TestWaits = conformance.WaitTests
TestWatches = conformance.WatchTests

__all__ = [
    "TestConcurrency",
    "TestContents",
    "TestDirs",
    "TestFences",
    "TestFiles",
    "TestLeases",
    "TestLimits",
    "TestLinks",
    "TestMoments",
    "TestOpenModes",
    "TestPipes",
    "TestProtocol",
    "TestPuts",
    "TestRenames",
    "TestSemaphores",
    "TestSessions",
    "TestStats",
    "TestTransactions",
    "TestUnions",
    "TestWaits",
    "TestWatches",
]
