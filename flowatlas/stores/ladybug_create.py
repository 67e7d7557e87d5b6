"""A new embedded store: it exists whole or not at all."""

from __future__ import annotations

from pathlib import Path

import ladybug

from flowatlas import __version__
from flowatlas.stores.ladybug_files import beside, failed_write, open_files
from flowatlas.stores.ladybug_reader import run
from flowatlas.stores.ladybug_schema import META, ddl
from flowatlas.vocabulary import SCHEMA_VERSION


def create(path: Path, buffer_mb: int) -> None:
    """Make an empty store at `path` under a temporary name and rename it. Raises StoreError."""
    temporary = beside(path)
    try:
        database = open_files(temporary, read_only=False, buffer_mb=buffer_mb, create=True)
        connection = ladybug.Connection(database)
        for statement in ddl():
            connection.execute(statement)
        for key, value in (("schema_version", str(SCHEMA_VERSION)), ("flowatlas", __version__)):
            connection.execute(f"CREATE (:{META} {{key: $key, value: $value}})", {"key": key, "value": value})
        connection.close()
        database.close()
        _check_whole(temporary, buffer_mb)
        temporary.rename(path)
    except RuntimeError as error:
        raise failed_write(path, error) from error
    finally:
        for left in (temporary, *path.parent.glob(f"{temporary.name}.*")):
            left.unlink(missing_ok=True)


def _check_whole(path: Path, buffer_mb: int) -> None:
    """Raise RuntimeError when what was written is not in the file: on a full disk closing fails without a word."""
    with ladybug.Database(str(path), read_only=True, buffer_pool_size=buffer_mb << 20) as database:
        tables = run(database, "CALL show_tables() RETURN name", {})["name"].to_pylist()
    if META not in tables:
        raise RuntimeError("No space left on device")
