"""A sharded key-value store (KV-1 to KV-10): servers (``kvd``), a balancer, movers, clerks.

What is promised, for one key: calls take effect one at a time, each between its call and its return, and a write
takes effect once, also if its clerk repeats it, its shard moves, or a server dies. Several keys in one call are several
calls.

A write that was acknowledged is in a journal on a ux, and outlives every process of the store. A group of n members has
one that leads and serves; the others stand by and go on from the journal. It is kept at n kernel nodes, if there are as
many: all but one of them may be lost, one after the other, and others take their places. With a group of one, what it
has is lost with its node's disk, and, unless ux syncs (``Proxy.ux_fsync``), with that node's power if that fails in the
seconds after. A server whose lease at named is in doubt answers nothing.
"""
