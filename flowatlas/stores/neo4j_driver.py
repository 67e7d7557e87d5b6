"""Connecting to a Neo4j server, and its errors in words for people."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import neo4j
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConfigurationError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    TransientError,
    UnsupportedServerProduct,
)

from flowatlas.errors import QueryError, StoreError
from flowatlas.settings import Settings, settings

# What fails is raised, in words; the driver's own log would only repeat it, and its notifications are about
# queries that are the same on both stores.
logging.getLogger("neo4j").setLevel(logging.CRITICAL)

_OLDEST: Final = 5
_RETRY_SECONDS: Final = 60.0
_EXPLAIN: Final = "EXPLAIN "
_POSITION: Final = re.compile(r"\(line 1, column (\d+) \(offset: (\d+)\)\)")


@dataclass(frozen=True)
class Address:
    """Where a store is: the server's URI for the driver, and the name of the database."""

    server: str
    database: str

    @classmethod
    def of(cls, uri: str) -> Address:
        """Split `neo4j://host:7687/database`. Raises StoreError on a URI with a password in it."""
        parts = urlsplit(uri)
        if parts.username is not None or parts.password is not None:
            raise StoreError(
                "A user name or password does not belong into the store's URI: others can see it there.",
                next_step="Set FLOWATLAS_NEO4J_USER and FLOWATLAS_NEO4J_PASSWORD_FILE (or FLOWATLAS_NEO4J_PASSWORD).",
            )
        if not parts.hostname:
            raise StoreError(f"'{uri}' names no server.", known="The form is neo4j://host:7687/database.")
        return cls(f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "neo4j")


def connect(uri: str) -> tuple[neo4j.Driver, str]:
    """A driver whose server has answered, and the database's name. Raises StoreError."""
    address = Address.of(uri)
    auth = credentials()
    try:
        driver = neo4j.GraphDatabase.driver(
            address.server,
            auth=auth,
            connection_timeout=10,
            connection_acquisition_timeout=30,
            max_transaction_retry_time=_RETRY_SECONDS,
        )
    except ConfigurationError as error:
        raise StoreError(f"'{uri}' is not a Neo4j address.", known=str(error)) from error
    try:
        with in_words(uri):
            try:
                driver.verify_connectivity()
            except ServiceUnavailable:
                _probe(address, auth)
                raise
            _check_version(uri, driver.get_server_info().agent)
            driver.execute_query("RETURN 1", database_=address.database, routing_=neo4j.RoutingControl.READ)
    except BaseException:
        driver.close()
        raise
    return driver, address.database


def _probe(address: Address, auth: tuple[str, str]) -> None:
    """Ask a server that gave no routing table directly: that error says why. Raises DriverError, Neo4jError."""
    if not address.server.startswith("neo4j"):
        return
    direct = "bolt" + address.server.removeprefix("neo4j")
    with neo4j.GraphDatabase.driver(direct, auth=auth, connection_timeout=10) as driver:
        driver.verify_connectivity()


@contextmanager
def in_words(uri: str) -> Iterator[None]:
    """Errors of the driver as StoreError with what to do next."""
    try:
        yield
    except (Neo4jError, DriverError, OSError) as error:
        raise explained(uri, error) from error


def is_memory(error: Exception) -> bool:
    """Whether a transaction was too large for the server."""
    return "OutOfMemory" in (getattr(error, "code", None) or "")


def query_error(error: Neo4jError | DriverError) -> QueryError:
    """The database's message, its positions those of the text that the person wrote."""
    message = error.message if isinstance(error, Neo4jError) and error.message else str(error)
    code = getattr(error, "code", None) or ""
    if "TransactionTimedOut" in code or "Terminated" in code:
        return QueryError(
            "The query was stopped: it took longer than allowed.", next_step="Ask for less, or with a LIMIT."
        )
    if is_memory(error):
        return QueryError(
            "The query was stopped: it needs more memory than the server allows.",
            next_step="Ask for less, or with a LIMIT.",
        )
    return QueryError(_without_explain(message))


def _without_explain(message: str) -> str:
    """Positions and the echoed line of a message about `EXPLAIN text`, for `text`."""
    if f'"{_EXPLAIN}' not in message:
        return message
    shift = len(_EXPLAIN)
    message = _POSITION.sub(lambda at: f"(line 1, column {int(at[1]) - shift} (offset: {int(at[2]) - shift}))", message)
    message = message.replace(f'"{_EXPLAIN}', '"', 1)
    return re.sub(rf"\n {{{shift}}}( *\^)", r"\n\1", message)


def credentials() -> tuple[str, str]:
    """User and password from the settings. Raises StoreError when there is no password."""
    found = settings()
    return found.neo4j_user, _password(found)


def _password(found: Settings) -> str:
    if found.neo4j_password is not None:
        return found.neo4j_password.get_secret_value()
    if found.neo4j_password_file is None:
        raise StoreError(
            "A Neo4j store needs a password.",
            next_step="Set FLOWATLAS_NEO4J_PASSWORD_FILE to a file with it, or FLOWATLAS_NEO4J_PASSWORD.",
        )
    try:
        lines = Path(found.neo4j_password_file).read_text("utf-8").splitlines()
    except OSError as error:
        raise StoreError(
            f"The password file {found.neo4j_password_file} cannot be read.", known=error.strerror or ""
        ) from error
    if not lines or not lines[0]:
        raise StoreError(f"The password file {found.neo4j_password_file} is empty.")
    return lines[0]


def _check_version(uri: str, agent: str) -> None:
    """Refuse servers that lack what the schema and the guard stand on (relationship indexes, plans)."""
    version = re.match(r"Neo4j/(\d+)", agent)
    if version is None or int(version[1]) < _OLDEST:
        raise StoreError(
            f"The server at {uri} is {agent}; flowatlas needs Neo4j {_OLDEST} or later.",
            next_step="make neo4j starts a fitting one.",
        )


def explained(uri: str, error: Exception) -> StoreError:
    """An error of the driver in words, with what to do next."""
    code = getattr(error, "code", None) or ""
    if isinstance(error, AuthError):
        return StoreError(
            f"The server at {uri} refused the user name or password.",
            known=f"User: {settings().neo4j_user}.",
            next_step="Check FLOWATLAS_NEO4J_USER and FLOWATLAS_NEO4J_PASSWORD_FILE (or FLOWATLAS_NEO4J_PASSWORD).",
        )
    if "DatabaseNotFound" in code:
        return StoreError(
            f"The server has no database '{Address.of(uri).database}'.",
            known="A Community server has one: neo4j.",
            next_step="Name another one at the end of the URI: neo4j://host:7687/neo4j.",
        )
    if is_memory(error):
        return _too_large(error)
    if isinstance(error, UnsupportedServerProduct) or "handshake" in str(error).lower():
        return StoreError(
            f"What answers at {uri} does not speak a protocol of Neo4j {_OLDEST} or later.",
            known=_first_line(error),
            next_step="Check host and port (Bolt is 7687; 7474 is the browser's).",
        )
    if _about_tls(error):
        return StoreError(
            f"No encrypted connection to {uri} could be made.",
            known=_first_line(error),
            next_step="For a server without TLS write neo4j:// instead of neo4j+s://.",
        )
    if isinstance(error, (ServiceUnavailable, OSError)) or (isinstance(error, DriverError) and error.is_retryable()):
        return StoreError(
            f"No Neo4j server answers at {uri}.",
            known=_first_line(error),
            next_step="Check that it runs (make neo4j starts one) and that host and port are right.",
        )
    kind = "refused" if isinstance(error, ClientError) else "failed at"
    return StoreError(f"The Neo4j server at {uri} {kind} a step.", known=_first_line(error))


def _too_large(error: Exception) -> StoreError:
    return StoreError(
        "A prompt needs more memory in one transaction than the server allows; it was not written.",
        known=_first_line(error),
        next_step="Raise db.memory.transaction.max in neo4j.conf, or ingest with --keep top:K.",
    )


@contextmanager
def once_if_too_large() -> Iterator[None]:
    """Inside a managed transaction: running out of memory is not tried again, as the driver would for a minute."""
    try:
        yield
    except TransientError as error:
        if is_memory(error):
            raise _too_large(error) from error
        raise


def _about_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError) or "BoltSecurityError" in type(error).__name__ or "SSL" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: Exception) -> str:
    message = error.message if isinstance(error, Neo4jError) and error.message else str(error)
    return message.strip().splitlines()[0][:300] if message.strip() else type(error).__name__
