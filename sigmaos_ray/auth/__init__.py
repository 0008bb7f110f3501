"""RealmCredentials: who may speak for which realm and which proc, checked by each server by itself.

``tokens`` says what a token is, ``verifying`` what a server makes of one, ``living`` which procs' tokens have not
ended, ``rights`` what who shows one may do, ``files`` where a client finds its own. Where tokens are made: the
authority of an instance (``kernel.boot.authority``) and each schedd (``kernel.schedd.issuing``).
"""
