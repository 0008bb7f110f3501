"""Programs that run on SigmaOS. Each is a package with ``main(argv)``; they know ``sigmaos_ray`` and nothing else."""
