"""db: a SQL database behind RPC, at ``name/db/<kernel id>`` (B-5)."""
