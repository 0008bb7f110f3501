"""Every tunable, in frozen classes, and ``ProcEnv``: what a proc knows of itself and of its instance.

Values are for one machine; ``REMOTE`` changes those that a real network asks for.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.auth.verifying import Trust
from sigmaos_ray.sigmap import ROOT_REALM, Endpoint, Secret


class Session(msgspec.Struct, frozen=True):
    """Sessions, at both ends. The bounds are what one client can cost a server, far above what our own clients need."""

    session_timeout_s: float = 2.0
    """How long a server keeps a session whose stream is gone, waiting for a resume."""
    silent_session_s: float = 45.0
    """The same, after a plain connection fell silent: a client whose loop was held up comes back when it goes on."""
    dial_timeout_s: float = 2.0
    """How long a client tries to open a stream, before Unreachable."""
    connect_timeout_s: float = 1.0
    """How long one attempt of a dial or a resume may take: a server that is busy, or far away, has to say hello."""
    resume_timeout_s: float = 1.0
    """How long a client tries to resume; shorter than the server waits, so that a resume is never too late."""
    resume_pause_s: float = 0.05
    """Between two tries to resume a session."""
    keepalive_s: float = 5.0
    """Pings on idle connections."""
    keepalive_timeout_s: float = 10.0
    """A stream whose ping is not answered for so long is dead. Generous: a busy process is not a dead one."""
    requests_in_flight_max: int = 16384
    """Requests of one session that the server runs at a time; one more is answered with Retry."""
    requests_waiting_bytes_max: int = 64 << 20
    """Of requests that wait for somebody else (pipes, RPCs); one more of these is answered with Retry."""
    requests_ahead_max: int = 65_536
    """How far a request's number may be ahead of the first one that has not come."""
    replies_unread_bytes_max: int = 32 << 20
    """Of replies that the client does not read, and of those under way; the server then reads no more requests."""
    replies_kept_bytes_max: int = 32 << 20
    """Of replies of one session that were not acknowledged; the oldest are forgotten."""
    replies_kept_total_bytes_max: int = 512 << 20
    """The same, of all sessions of a server."""
    acks_max: int = 65_536
    """Acknowledgements in one message."""
    outstanding_max: int = 1_000_000
    """Requests that a resume may name."""
    ack_batch: int = 64
    """A client that has nothing to say acknowledges replies after so many."""
    hello_timeout_s: float = 5.0
    """How long a stream may take to say hello, and a handshake of TLS to be over."""
    handshakes_max: int = 1000
    """Connections of a server whose TLS is not agreed on yet; the oldest, which takes too long, makes room for more."""
    slow_call_s: float = 0.25
    """A call that takes so long makes its client's session slow: it watches whether the server still leads."""
    close_timeout_s: float = 1.0
    """How long a client that closes a session waits for all of it to be over."""
    goodbye_read_s: float = 0.5
    """How long it waits, of that, for the server to have read its goodbye."""
    goodbye_timeout_s: float = 0.5
    """How long a server that shuts down waits for clients to take what is left for them."""
    last_replies_s: float = 0.02
    """How long a request that is worked on may hold such a server's goodbye up."""
    greetings_max: int = 1000
    """Connections of one server that have not said hello yet."""
    unbound_s: float = 60.0
    """How long a plain connection may stay with the server between two sessions."""
    sessions_max: int = 10_000
    """Of one server; one more client is answered with Retry."""
    connections_per_session_max: int = 256
    """Bound beside the main one; one more is answered with Retry."""
    connections_per_client_max: int = 16
    """What a client makes of them; more threads than these take the main one."""
    no_plain_pause_s: float = 30.0
    """How long a client that could not have one does not try again."""
    key_bytes_max: int = 64
    """Of a session's secret."""
    fids_per_session_max: int = 65_536
    """Files, directories and watches that one session has open; one more is Inval."""
    fids_max: int = 1_000_000
    """Of all sessions of a server."""
    watches_per_session_max: int = 4096
    """Each may hold ``Store.watch_events_max`` events."""
    attach_bytes_max: int = 16 << 10
    """Realm, principal, token and secrets of an attach: each of its fids keeps them."""
    slice_s: float = 0.005
    """How long the requests of one message hold up those of other sessions."""


class Wire(msgspec.Struct, frozen=True):
    """The largest of what travels in one message, and what servers refuse with Inval beyond it."""

    message_bytes_max: int = 4 << 20
    """The largest Frames message; gRPC refuses what is larger."""
    frames_bytes_target: int = 1 << 20
    """A sender starts a new Frames message once the one it fills has so many bytes."""
    io_bytes_max: int = 1 << 20
    """The most data in one request; the client cuts larger reads and writes."""
    payload_bytes_min: int = 32 << 10
    """Data of a request or reply from so many bytes on stay apart from its message; for fewer it is not worth it."""
    path_components_max: int = 256
    """Of one request."""
    path_bytes_max: int = 64 << 10
    """Of all components of a path in one request. A new name has at most ``sigmap.path.NAME_BYTES_MAX``."""
    dir_page_entries: int = 4096
    """The most entries that one read of a directory returns."""
    watch_page_events: int = 4096
    """The most events that one read of a watch returns."""
    call_frames_max: int = 64
    """Frames of one call on a device."""
    changes_max: int = 32
    """Of one transaction."""
    call_timeout_s_max: float = 7 * 24 * 3600.0
    """The longest that the caller of an RPC can ask a server to try; who asks for more gets this."""
    listing_entries_max: int = 2_000_000
    """The most entries that a client collects of one directory; what has more is read with ``scan_dir``."""


class Rpc(msgspec.Struct, frozen=True):
    """Calls of services: their arguments and results, and the threads that run them."""

    inline_bytes_max: int = 2 << 20
    """A larger argument or result travels in parts."""
    part_bytes: int = 1 << 20
    """Of such a part; with its header well below ``Wire.message_bytes_max``."""
    parts_in_flight_max: int = 4
    """Parts of one payload that are under way at a time."""
    payload_bytes_max: int = 256 << 20
    """Of one argument or result."""
    payloads_bytes_max: int = 1 << 30
    """Of all that a server holds: arguments that are not complete, results that were not taken."""
    handler_threads_max: int = 64
    """Blocking handlers of one server that run at a time; the others wait their turn."""
    drain_s: float = 5.0
    """How long a server that is evicted waits for the calls that run."""


class Store(msgspec.Struct, frozen=True):
    """What servers keep."""

    dir_entries_max: int = 1_000_000
    """Entries of one directory, in memfs and named."""
    memfs_file_bytes_max: int = 1 << 30
    """One file of a memfs."""
    memfs_bytes_max: int = 4 << 30
    """All files of one memfs; each counts 1 KiB more than its contents."""
    fences_max: int = 16_384
    """Pathnames whose newest fence a server remembers; named also those of all leaders that lead."""
    fence_bytes_max: int = 1024
    """Of a fence's pathname."""
    watch_events_max: int = 100_000
    """Events of one watch that nobody reads; one more ends it."""
    watch_events_total_max: int = 4_000_000
    """The same, of all watches of a server: one more ends the watch that is to get it, if that has some unread."""


class Walk(msgspec.Struct, frozen=True):
    """Pathnames, from the client's side."""

    symlink_restarts_max: int = 8
    """Links that one walk follows, before it takes them for a circle."""
    patience_s: float = 8.0
    """How long an operation that may be repeated is, from its first failure on, while its server is away. It outlasts
    one fail-over of named: its lease, a second, and some (E-6)."""
    retry_pause_s: float = 0.2
    """Between two tries."""
    held_s: float = 0.3
    """How long a caller whose time is over is held for what it has begun to be undone; then that goes on behind it."""
    entry_timeout_s: float = 10.0
    """How long the timed waits of a directory's cache look for an entry."""


class Streams(msgspec.Struct, frozen=True):
    """How much of a file or a directory a client has under way at a time."""

    reads_in_flight: int = 3
    """Parts of one file: enough that the server works while the client does."""
    files_in_flight: int = 8
    """Files of a directory that is copied."""
    removes_in_flight: int = 32
    """Entries of a directory that is removed."""
    rereads_max: int = 8
    """How often a file that changes while it is read is read once more."""


class Locating(msgspec.Struct, frozen=True):
    """How a client keeps to named's leader, which may change at any time."""

    dial_poll_s: float = 0.25
    """How often it looks, while it dials, whether another one leads: one that was stopped takes connections, too."""
    hook_pause_s: float = 1.0
    """How often it asks Ray, at most, where no state file can be read: that may cost a message to another process."""
    hook_timeout_s: float = 0.5
    """How long Ray may take to tell; then it is taken for away, and the addresses that are known are asked."""
    stagger_s: float = 0.25
    """How long one of several addresses may take to answer before the next one is tried beside it."""
    ask_again_s: float = 0.5
    """How often who stands by is asked whether it leads by now, while another address does not answer."""
    ask_pause_s: float = 0.5
    """How often a client that nobody tells who leads asks the other addresses, while a call takes long."""
    file_pause_s: float = 1.0
    """How often it reads the state file though it looks the same: twice within a tick of its clock it may do so."""


class Leases(msgspec.Struct, frozen=True):
    """How long what is not extended any more is still taken for alive: the sooner others take over, the more a busy
    machine's pauses are mistaken for a death."""

    ttl_s: int = 5
    """Leases of clients and servers (L-1); refreshed each third."""
    election_ttl_s: int = 5
    """named's own."""


class Named(msgspec.Struct, frozen=True):
    """named, and the etcd below it."""

    file_bytes_max: int = 1 << 20
    """The largest contents of a file in named: etcd takes requests of about 1.5 MiB."""
    commit_ops_max: int = 100
    """Operations in one etcd transaction; etcd's own limit is 128."""
    fences_forgotten_max: int = 8
    """Fences that one change takes along to forget them (``Store.fences_max``)."""
    commit_bytes_max: int = 1_400_000
    """Keys and values of one etcd transaction; etcd's own limit is 1.5 MiB, with its framing."""
    data_cache_bytes_max: int = 256 << 20
    """File contents that the leader keeps in memory; the rest is read from etcd on demand."""
    etcd_timeout_s: float = 3.0
    """How long etcd may take to answer a request; shorter than the leader's lease."""
    etcd_pong_s: float = 1.0
    """How long a ping of etcd's waits for its answer; much shorter than etcd does (20 s)."""
    extend_timeout_s_min: float = 0.5
    """How long it may take at least to extend that lease, else a third of what is left: then others are asked, too."""
    named_count: int = 1
    """One leads, the others stand by."""
    etcd_members_poll_s: float = 5.0
    """How often named asks where the members of its etcd are now."""
    etcd_pause_s: float = 0.1
    """Before etcd is asked again after it did not answer, or did not say what became of a transaction."""
    extend_pause_s: float = 0.2
    """Before the leader's lease is extended again after a try that failed; many tries fit into what is left of it."""
    guard_poll_s: float = 0.2
    """How often one that waits for etcd's news makes sure that it still leads."""


class Proxy(msgspec.Struct, frozen=True):
    """The services that stand before something else: s3, ux and db."""

    s3_threads: int = 16
    """Requests to S3 at a time, of all clients."""
    s3_timeout_s: float = 30.0
    """How long one request to S3 may take with all its tries, the time for its bytes apart."""
    s3_bytes_per_s_min: int = 1 << 20
    """S3 that is slower than this with a request's bytes is given up on."""
    s3_finish_timeout_s: float = 300.0
    """How long S3 may take to put the parts of a large object together."""
    s3_stall_s: float = 10.0
    """A connection to S3 over which nothing comes or goes for so long is given up; the request is tried again."""
    s3_part_bytes: int = 8 << 20
    """Size of the first parts of an upload, S3 asks for at least 5 MiB; later ones grow, as S3 takes 10,000 at most."""
    s3_range_bytes: int = 16 << 20
    """The most that one request reads: what a reader gets to who goes on and on."""
    s3_ahead_count: int = 3
    """Ranges that are read ahead for one sequential reader, and parts of one upload that are under way."""
    s3_ahead_bytes_max: int = 512 << 20
    """Of all readers and writers together; past it each has what it needs to go on, and no more."""
    s3_first_range_bytes: int = 256 << 10
    """What a reader of small pieces fetches first; each further range is larger, up to ``s3_range_bytes``."""
    s3_behind_bytes: int = 4 << 20
    """What stays behind a reader: requests under way at once do not come in order."""
    s3_streams_max: int = 8
    """Places of one open file from which it is read on: chunks of it, by several tasks."""
    s3_removal_rounds_max: int = 8
    """How often a directory that is being removed may be found with new entries."""
    s3_pause_s: float = 0.1
    """Before the second try of a request to S3; each further pause is twice as long."""
    s3_pause_s_max: float = 5.0
    """The longest of these pauses."""
    s3_away_tries_max: int = 4
    """S3 that cannot be reached at all is told after so many tries, within about a second."""
    s3_garbled_tries_max: int = 2
    """An answer that cannot be read may have been cut; one that cannot be read again will never be."""
    s3_clients_max: int = 32
    """Credentials of callers whose connections are kept."""
    s3_own_credentials: bool = True
    """Callers who show no credentials use the node's own; False: they get Perm."""
    ux_threads: int = 8
    """Calls on the host's files that may block, at a time; short ones run on the server's loop."""
    ux_fsync: bool = False
    """Whether ux syncs files and directories before it acknowledges a put, a close, or a change of names. Without, what
    was acknowledged outlives the server, but for the last seconds not a loss of power."""
    db_connections: int = 8
    """Statements of one proxy that the database runs at a time; others wait their turn."""
    db_wait_s: float = 5.0
    """How long a statement waits for a connection, or for another one's transaction, before Retry."""
    db_reply_bytes_max: int = 64 << 20
    """Of one query's rows."""


class Procs(msgspec.Struct, frozen=True):
    """Procs as their parents see them: what ``procclnt`` waits for, and what it sends together."""

    wait_rpc_s: float = 0.05
    """How long a wait inside a proc stays in an RPC, before it gives its core back through a Ray call."""
    exits_ahead_max: int = 256
    """Procs of one client whose end is waited for from the spawn on; the end of others is asked for when somebody
    wants to know."""
    ends_max: int = 8192
    """Of the procs that one ``as_completed`` is about, those whose end is waited for at a time; the others' turn comes
    as these end. A schedd answers some 16,000 calls of a client at a time."""
    burst_procs_max: int = 64
    """Of one message: while a schedd takes them, it does nothing else."""
    loads_asked_max: int = 8
    """Kernel nodes that are asked at a time whether one of them has room."""
    load_timeout_s: float = 0.5
    """A schedd that takes longer to tell its load is not considered, if others do tell."""
    collect_pause_s: float = 0.002
    """How long the word that a status was taken waits for others to travel with."""
    taken_pause_s: float = 0.05
    """The same, of a status that a thread took by itself: its next spawn takes the word along."""
    interrupt_s: float = 30.0
    """How long a blocking call that is interrupted waits for what it began to end: procs are given some seconds."""
    package_bytes_max: int = 240 << 20
    """Of the files of a folder of programs that is shipped: one RPC takes it, and Ray's control store keeps it."""
    package_wanted_s: float = 5.0
    """How long a schedd's word counts whether folders are to be shipped: machines may come and go."""
    close_timeout_s: float = 1.0
    """How long a client that closes waits for schedds to hear which statuses it took."""
    look_again_s: float = 0.1
    """Between two looks for a schedd that cannot be reached: it is back soon, or its name goes."""
    list_timeout_s: float = 5.0
    """How long a schedd may take to list its procs; one that takes longer is left out of the list."""
    lookout_poll_s: float = 1.0
    """A call to a schedd that takes longer has its schedd's name looked after, so often."""
    gone_grace_s: float = 6.0
    """How long a schedd whose name is gone may take to answer who waits there: longer than one that stops in order has
    for its procs (``Scheduling.stop_timeout_s``)."""
    function_bytes_max: int = 1 << 20
    """The largest pickle of a program that is a function; what is larger belongs into a file."""


class Scheduling(msgspec.Struct, frozen=True):
    """How a schedd uses Ray, and what it keeps."""

    packages_kept_max: int = 16
    """Folders of programs that a schedd keeps for workers that do not have them; those used last."""
    be_per_core: int = 2
    """Best-effort procs per core at a time."""
    lease_idle_s: float = 0.5
    """A lease that had nothing to run for so long gives its core back to Ray; its worker stays for a while."""
    lease_work_s: float = 2.0
    """So long after it began a lease ends with its proc, and another one is asked for: others that use Ray, and other
    realms, get their turn. Longer than Ray itself leaves a worker with whom has it."""
    lease_break_s: float = 0.25
    """How long leases wait for each other to end, before others are asked for: what else uses Ray may need more than
    one of them had."""
    lease_pause_s: float = 0.02
    """How long none is asked for once all have ended: Ray gives their cores to whom it likes meanwhile."""
    lease_failures_max: int = 10
    """Leases in a row whose workers die before they come: then a proc that waits for one is told so."""
    handed_max: int = 5
    """Leases that a proc is handed to, one after another, of which none can begin it; then it has crashed."""
    memory_poll_s: float = 0.25
    """How often a node's memory is looked at, at least, while it has workers."""
    memory_pause_s: float = 0.02
    """Between two looks at least: what was killed is gone by then."""
    memory_growth_mb_s: float = 5000.0
    """How fast procs may take memory, in MiB per second: the less is left, the more often is it looked at."""
    memory_margin: float = 0.05
    """So much of the memory before Ray's own monitor would end a worker, the largest proc ends."""
    memory_margin_mb: int = 1024
    """The same at most, in MiB."""
    lease_kill_s: float = 2.0
    """How long a lease may take to kill its proc, before it is killed itself."""
    critical_first_s: float = 5.0
    """How long best-effort procs stand back for a latency-critical one; it then waits for others of its kind."""
    turn_s: float = 0.5
    """Slots that cannot be divided between realms go round, and stay with one for so long: about as long as Ray leaves
    a worker with whom has it."""
    share_poll_s: float = 0.1
    """How often a schedd with procs that wait asks for its share; several times a turn."""
    share_timeout_s: float = 1.0
    """A referee that does not answer for so long is away: each schedd goes on for itself."""
    share_memory_s: float = 1.0
    """A schedd that did not ask for so long has nothing that waits. Several times ``share_poll_s``."""
    nodes_poll_s: float = 2.0
    """How often Ray is asked for its nodes while there are procs; it costs Ray's control store a call."""
    warm_max: int = 8
    """Workers that are made ready ahead: each takes memory, also where nobody spawns."""
    first_worker_timeout_s: float = 3.0
    """How long a tenant's schedd that starts waits for its first worker. A node whose cores are all in use has none."""
    status_kept_max: int = 100_000
    """Statuses of ended procs that a schedd keeps until somebody collects them."""
    proc_logs_bytes_max: int = 4 << 30
    """Of logs of ended procs that a node keeps for a realm; the oldest go."""
    proc_logs_age_s_max: float = 30 * 24 * 3600.0
    """So old they go in any case."""
    proc_logs_poll_s: float = 60.0
    """How often a node looks at them. Those written since the last look stay: an end may still be looked into."""
    worker_ends_kept_max: int = 1024
    """Ended workers of which it is remembered how they ended."""
    cause_timeout_s: float = 1.0
    """How long the system may take to say how a worker ended that Ray says is dead."""
    reaped_poll_s: float = 0.005
    """How often a worker that ended is looked at until its parent took notice: only then does the system say how."""
    peer_timeout_s: float = 3.0
    """How long another node's schedd may take to say how a process on its machine ended; that it waits for, too."""
    parents_poll_s: float = 2.0
    """How often another node's schedd is asked whether procs of its have ended whose children are here."""
    stop_grace_s: float = 0.5
    """How long procs may take to end by themselves when their schedd stops."""
    stop_timeout_s: float = 5.0
    """How long Ray may then take to kill them."""
    metrics_period_s: float = 2.0
    """How often Ray's agents are told; what Prometheus asks them is at most so old."""


class Workers(msgspec.Struct, frozen=True):
    """The processes that run procs."""

    notice_after_s: float = 0.02
    """A proc that runs for so long gets its log's name; shorter ones are over before anybody could look."""
    reused_notice_s: float = 0.05
    """The same for procs that run in the worker itself, at least: it is looked for so often, from beside them."""
    hello_timeout_s: float = 5.0
    """How long a worker waits for its schedd's answer; one that does not answer is gone."""
    place_poll_s: float = 1.0
    """How often a worker on a Ray node without a kernel node looks whether there is one now."""
    reap_timeout_s: float = 2.0
    """How long children of a proc that were killed may take to be gone: those in an uninterruptible call stay."""
    best_effort_niceness: int = 15
    """Of processes of best-effort procs, at least: as much as Ray gives its workers."""
    word_bytes_max: int = 64 << 20
    """Of what a proc's process says at a time, such as its status with all of its data."""
    template_start_timeout_s: float = 60.0
    """How long a worker's templates may take to start, or to give a process."""
    template_end_timeout_s: float = 3.0
    """How long a template whose worker is gone may take to end what it forked, before it is killed."""
    template_tries_max: int = 3
    """A process of a proc that ended before it had one is replaced so many times, then the proc has none."""
    program_templates_max: int = 4
    """Programs whose modules a worker keeps imported; those used last."""
    programs_refused_max: int = 256
    """Programs of which a worker remembers that they can have no template."""
    refused_again_s: float = 30.0
    """How long it does so, where it is not known which files would have to change."""
    import_timeout_s: float = 20.0
    """A program whose modules take longer to import has no template; each of its procs imports them."""
    executables_kept_max: int = 64
    """Executable files that a node keeps copies of."""
    fetch_tries_max: int = 5
    """An executable that changes each time while it is fetched is given up after so many tries."""


class BootTimes(msgspec.Struct, frozen=True):
    """How long the parts of an instance may take, and how often boot looks after them."""

    part_start_timeout_s: float = 60.0
    """How long one part (etcd, S3, Ray, an actor) may take to start."""
    part_stop_timeout_s: float = 10.0
    """How long one part may take to stop, before it is killed."""
    etcd_majority_timeout_s: float = 120.0
    """How long a start waits for hosts with members of etcd, until enough are up to write."""
    etcd_patience_s: float = 60.0
    """How long the host of a member of etcd may be away before one that has none takes its place."""
    restart_pause_s: float = 0.2
    """Before a part that ended is started again; one that cannot start must not keep a core busy."""
    nodes_poll_s: float = 1.0
    """How often Ray is asked for its live nodes, each of which gets a kernel node."""
    restart_pause_s_max: float = 5.0
    """The longest of these pauses: each is twice as long as the one before, until the part runs."""
    others_start_timeout_s: float = 20.0
    """How long a start waits for parts of nodes other than the one beside boot, which may come up later as well."""
    survey_timeout_s: float = 20.0
    """How long Ray may take to run a task on a node that says who it is: its first worker has to start."""
    survey_pause_s: float = 3.0
    """Before a node is asked again that could not be asked."""
    stop_timeout_s: float = 60.0
    """How long a whole instance may take to stop, before its boot daemon is killed: all parts, one by one."""
    look_again_s: float = 0.02
    """Between two looks at a process that is to start or to end, where nobody announces it."""
    ray_end_grace_s: float = 1.0
    """How long the processes of an own Ray may take to end by themselves, and then to be killed."""
    ray_remove_timeout_s: float = 10.0
    """How long the directory of an own Ray is removed anew, while processes that are about to end write there."""
    ray_leave_timeout_s: float = 5.0
    """How long Ray may take to let go of boot, or to finish a start that is not wanted: then boot goes without it."""
    ray_kill_timeout_s: float = 2.0
    """How long Ray may take to say that it kills a part; it may not answer, and the part may be gone with it."""
    ray_poll_s: float = 1.0
    """How often a Ray that was joined is looked for."""
    ray_silence_s: float = 5.0
    """How long it may take to accept a connection: a network that drops packets for a moment is no end of Ray."""
    ray_pause_s: float = 0.3
    """Before it is looked for again after it took none."""
    ray_misses_max: int = 4
    """One that took no connection so many times in a row is lost."""


class Tenants(msgspec.Struct, frozen=True):
    """Tenants, as their makers see them."""

    timeout_s: float = 60.0
    """How long a realm may take to be up, or to be gone."""
    poll_s: float = 0.02
    """How often its record is read meanwhile."""


class Serving(msgspec.Struct, frozen=True):
    """Processes that serve, and what they tell of themselves."""

    switch_interval_s: float = 0.0002
    """Python's, in kernel actors: Ray's own threads call back into Python, and a request must not wait out their turn
    of 5 ms."""
    load_tick_s: float = 1.0
    """How often the averages of a server's load are taken on."""
    load_windows_s: tuple[float, float, float] = (1.0, 10.0, 60.0)
    """A server's load is averaged over about so long, as a machine's load averages are."""


class CertificateTimes(msgspec.Struct, frozen=True):
    """Certificates of an instance of several hosts."""

    host_days: float = 30.0
    """How long a host's one holds."""
    client_days: float = 365.0
    """The same of a client's on another machine, which somebody has to copy there."""
    authority_days: float = 3650.0
    """The same of the authority's own."""
    renew_at: float = 2 / 3
    """What part of a certificate's life is over when another one is made: the rest is for a boot that is down."""
    renew_poll_s: float = 60.0
    """How often boot looks whether one is to be renewed, and so how soon it tries again where it could not."""
    clock_skew_s: float = 3600.0
    """How far clocks of hosts may be apart."""


class Observing(msgspec.Struct, frozen=True):
    """Faults on purpose, profiles and records."""

    fault_poll_s: float = 0.02
    """How often an injected fault that waits for a file looks for it."""
    agent_poll_s: float = 0.01
    """Between two looks whether a process has started its agent for profiles, once it was asked to."""
    attach_timeout_s: float = 10.0
    """How long py-spy may take to attach to a process."""
    detach_timeout_s: float = 30.0
    """How long py-spy may take to end, and to write what it found."""
    record_slot_s: float = 0.02
    """Records of utilisation and throughput tell of so long at a time."""


class Auth(msgspec.Struct, frozen=True):
    """Credentials."""

    ask_timeout_s: float = 2.0
    """How long a server waits for a schedd of another machine to say whether a proc has ended."""
    generations_poll_s: float = 1.0
    """How often servers of programs look which credentials were revoked; the instance's own are told."""
    tell_timeout_s: float = 5.0
    """How long a rotation waits for a service to have heard of it."""


class Mounting(msgspec.Struct, frozen=True):
    """Of a namespace that is mounted on a host."""

    attributes_s: float = 0.2
    """How long the kernel believes what it heard of a name: so late it may see what others changed."""
    present_s: float = 2.0
    """A time that is so near is the present one, for who sets a file's time to now."""
    threads_max: int = 10
    """Questions of the kernel that are answered at a time."""


class Config(msgspec.Struct, frozen=True):
    auth: Auth = Auth()
    session: Session = Session()
    wire: Wire = Wire()
    rpc: Rpc = Rpc()
    store: Store = Store()
    walk: Walk = Walk()
    streams: Streams = Streams()
    locating: Locating = Locating()
    lease: Leases = Leases()
    named: Named = Named()
    proxy: Proxy = Proxy()
    procs: Procs = Procs()
    scheduling: Scheduling = Scheduling()
    workers: Workers = Workers()
    boot: BootTimes = BootTimes()
    tenants: Tenants = Tenants()
    serving: Serving = Serving()
    certificates: CertificateTimes = CertificateTimes()
    observing: Observing = Observing()
    mounting: Mounting = Mounting()


LOCAL: Final = Config()
REMOTE: Final = Config(
    session=Session(session_timeout_s=40.0, dial_timeout_s=8.0, connect_timeout_s=4.0, resume_timeout_s=20.0),
    # A host that falls silent takes named along, and nobody on it can say so: shorter than where all see each other.
    lease=Leases(election_ttl_s=4),
)


PRESETS: Final = {"local": LOCAL, "remote": REMOTE}
_VARIABLE: Final = "SIGMAOS_CONFIG"


def current() -> Config:
    """The values in force in this process: ``SIGMAOS_CONFIG`` names a preset (``local``, ``remote``)."""
    return PRESETS.get(os.environ.get(_VARIABLE, ""), LOCAL)


def preset(name: str) -> Config:
    """The values of that name; those in force here for an empty one. Unknown names are ``local``."""
    return PRESETS.get(name, LOCAL) if name else current()


def current_name() -> str:
    """The name of the preset that is in force here. Inval for a ``SIGMAOS_CONFIG`` that names none."""
    name = os.environ.get(_VARIABLE, "") or "local"
    if name not in PRESETS:
        raise serr.Inval(name, f"{_VARIABLE}: no such preset; there are {', '.join(PRESETS)}")
    return name


def use(name: str) -> None:
    """From now on that preset is in force in this process and in its children, whatever its environment said; an empty
    name changes nothing."""
    if name:
        os.environ[_VARIABLE] = name


NAMED_PORT: Final = 5640
"""Of the root realm's named on a host that other machines reach, the next ones for further nameds there: an address
that stays as it is, for clients elsewhere (``SIGMAOS_NAMED``). 9P's is 564."""

ETCD_PORT: Final = 5650
"""Of each member's clients, where an instance's etcd has members on several hosts; the next one is for its peers."""

LOOPBACK: Final = "127.0.0.1"
"""Where everything listens on an instance of one machine."""


class ProcEnv(msgspec.Struct, frozen=True, kw_only=True):
    """What a proc knows of itself and of its instance (X-4). Travels as JSON in ``SIGMACONFIG``."""

    pid: str
    program: str = ""
    realm: str = ROOT_REALM
    principal: str = ""
    token: str = ""
    """What it shows of itself; empty: what ``auth.files`` finds."""
    trust: Trust = Trust()
    """How its servers check what they are shown."""
    secrets: tuple[Secret, ...] = ()
    """What services act on in the proc's name; a child gets its parent's."""
    kernel_id: str = ""
    """The kernel node that ``~local`` means."""
    host: str = LOOPBACK
    """The address of that node, where this proc's servers listen unless told otherwise: others reach them there."""
    parent_pid: str = ""
    named: Endpoint = Endpoint()
    """The leader when this was written; a client that cannot reach it looks again."""
    schedd: Endpoint = Endpoint()
    """The schedd that owns the proc."""
    schedd_id: str = ""
    """Its kernel id; another than ``kernel_id`` if Ray placed the proc on another node."""
    package: str = ""
    """The folder that the proc's code came in, for its children; empty: it was not shipped."""
    state_file: str = ""
    """Where the instance says what it is; named's newest endpoint stands there."""
    state_dir: str = ""
    """Where the instance keeps its state on each of its machines; empty: not known."""
    machine: str = ""
    """Which machine the node is (``machine.machine()``); empty: not known."""
    config: str = ""
    """The preset of tunables that the instance was started with; empty: what is in force in this process."""
    tls: str = ""
    """The directory with this host's certificate, or a file of credentials that has one; empty: no TLS."""
    debug: str = ""
    perf: str = ""
    fail: str = ""

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> ProcEnv:
        """Raises msgspec.DecodeError if the text is not a ProcEnv."""
        return _decode_proc_env(text)


_decode_proc_env: Final = decoding.json_decoder(ProcEnv)
