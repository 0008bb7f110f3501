"""schedd: takes procs, and hands them to leased workers of Ray's (``name/schedd/<kernel id>``).

* Deciding, pure: ``state`` and ``procstate`` (the life of procs), ``leases`` (which lease runs which proc), ``slots``
  (how many leases there may be), ``shares`` (between realms), ``counters``, ``stages``.
* Ray's side: ``lease_tasks`` (asking for leases), ``endings`` (Ray's errors), ``metrics``; and the host's: ``runners``
  (how workers ended), ``begun`` (what they had begun).
* In the workers: ``worker``, and ``agent``, which takes procs from the schedd and has ``sigmaos_ray.runner`` run them.
* Serving: ``node_procs`` does what the table decides, and ``leasing`` what the leases need; ``waits`` are those of
  clients, ``nodes`` are files, ``rpc`` calls of clients, ``lease_rpc`` those of leases; ``server`` puts them together,
  and ``actor`` is Ray's shell around it.
"""
