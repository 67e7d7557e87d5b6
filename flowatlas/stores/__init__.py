"""Stores: graph databases that hold flow graphs. `open_store` opens the right one for a URI."""
