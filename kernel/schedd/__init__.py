"""schedd: the procs of a node, as Ray tasks and actors that it owns."""
