"""Programs that the tests of procs spawn."""
