"""``python -m sigmaos_ray.cli`` is ``sigmaos``."""

from sigmaos_ray.cli.main import main

main()
