"""What runs a proc's program, in the process that a schedd has for it: streams, isolation, status, end.

Knows nothing of Ray. Only hosts of procs import it; clients spawn and wait through ``procclnt``.
"""
