"""SigmaOS in Python on top of Ray."""
