"""What we use of Ray beyond its public interface, all in one room: no other module of ours reaches into Ray.

Such parts may change with any release of Ray: ``version`` says which releases this was tried with.
"""
