"""Every test that takes `store_uri` runs on both stores."""

from __future__ import annotations

from support.neo4j_server import neo4j_uri, store_uri

__all__ = ["neo4j_uri", "store_uri"]
