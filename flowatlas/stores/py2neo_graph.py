"""A py2neo Graph on a Neo4j store, for notebooks that are written with py2neo.

py2neo is past its end of life (2023) and an optional extra, `flowatlas[py2neo]`. For anything new
use `open_store(uri).read(...)`, which returns Arrow tables, or the official driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowatlas.errors import StoreError
from flowatlas.stores import is_neo4j
from flowatlas.stores.neo4j_driver import Address, connect, credentials

if TYPE_CHECKING:
    from py2neo import Graph


def py2neo_graph(uri: str) -> Graph:
    """A py2neo Graph on the database of the store at `uri`, with the user and password of the settings.

    Raises StoreError: not a server, no answer, wrong password, or the extra is not installed.
    """
    if not is_neo4j(uri):
        raise StoreError(
            f"{uri} is an embedded store; py2neo speaks to Neo4j servers only.",
            next_step="Use flowatlas.open_store, or name a server: neo4j://host:7687/database.",
        )
    try:
        from py2neo import Graph
    except ImportError as error:
        raise StoreError("py2neo is not installed.", next_step="pip install 'flowatlas[py2neo]'") from error
    # Our own driver asks first: its errors are clear, py2neo's are not.
    connect(uri)[0].close()
    address = Address.of(uri)
    scheme, _, host = address.server.partition("://")
    return Graph(
        f"bolt{scheme.removeprefix('neo4j').removeprefix('bolt')}://{host}", auth=credentials(), name=address.database
    )
