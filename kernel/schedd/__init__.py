"""schedd: takes procs, and hands them to Ray (``name/schedd/<kernel id>``).

* Deciding, pure: ``state`` and ``procstate`` (the life of procs), ``backlog`` (which of them Ray gets, and when),
  ``shares`` (between realms), ``counters``, ``stages``.
* Ray's side: ``ray_procs`` (tasks and actors), ``worker`` (what runs in them), ``endings`` (Ray's errors), ``metrics``;
  and the host's: ``runners`` (how their processes ended).
* Serving: ``node_procs`` does what the table decides, ``waits`` are those of clients, ``nodes`` are files, ``rpc``
  calls; ``server`` puts them together, and ``actor`` is Ray's shell around it.
"""
