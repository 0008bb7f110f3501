"""The ``sigmaos`` command."""
