"""boot brings an instance up and down and restarts what died. ``start_instance`` and ``stop_instance`` are its handles;
the work is done by one daemon process per instance, ``python -m kernel.boot``."""

from kernel.boot.handle import restore_instance, start_instance, stop_instance

__all__ = ["restore_instance", "start_instance", "stop_instance"]
