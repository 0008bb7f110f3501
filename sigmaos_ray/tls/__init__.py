"""TLS between the parts of an instance of several hosts: an authority of its own, and what it is used with (S-11)."""
