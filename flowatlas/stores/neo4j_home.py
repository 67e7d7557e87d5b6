"""A Neo4j Community server as files: its jars from Maven Central, its folder, settings and password."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flowatlas.errors import StoreError
from flowatlas.resources import resource

JAVA: Final = 17
_STAMP: Final = ".from-pom"
_INSTALL: Final = "Debian and Ubuntu: apt-get install openjdk-17-jre-headless maven."


@dataclass(frozen=True)
class Memory:
    """Memory of a server, MiB: Java heap, page cache, and what one transaction may take."""

    heap: int = 2048
    page_cache: int = 1024
    transaction: int = 1024


def assemble(lib: Path) -> Path:
    """Copy the server's jars into `lib` with Maven, unless they are there for the same pom.xml.

    Raises StoreError naming what to install.
    """
    pom = resource("docker") / "neo4j" / "pom.xml"
    stamp = hashlib.blake2b(pom.read_bytes(), digest_size=16).hexdigest()
    lib.parent.mkdir(parents=True, exist_ok=True)
    # One process fetches, others wait for it: jars must not change under a server that starts.
    with (lib.parent / f".{lib.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ((lib / _STAMP).is_file() and (lib / _STAMP).read_text() == stamp):
            _fetch(pom, lib, stamp)
    return lib


def _fetch(pom: Path, lib: Path, stamp: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise StoreError("A Neo4j server is assembled with Maven, which is not installed.", next_step=_INSTALL)
    temporary = lib.resolve().with_name(f".{lib.name}-{uuid.uuid4().hex[:8]}")
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    try:
        done = subprocess.run([*command, f"-DoutputDirectory={temporary}"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StoreError(
                "Maven could not fetch the Neo4j server.",
                known=(done.stdout + done.stderr).strip()[-600:],
                next_step="Check that Maven Central (or your mirror of it) can be reached, and try again.",
            )
        (temporary / _STAMP).write_text(stamp)
        shutil.rmtree(lib, ignore_errors=True)
        temporary.rename(lib)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def java() -> str:
    """The path of a Java of version 17 or later. Raises StoreError naming what to install."""
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if found is None or not Path(found).is_file():
        raise StoreError(f"A Neo4j server needs Java {JAVA}, which is not installed.", next_step=_INSTALL)
    text = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', text)
    if version is None or int(version[1]) < JAVA:
        raise StoreError(
            f"A Neo4j server needs Java {JAVA} or later; {found} is {version[1] if version else 'unknown'}.",
            next_step=_INSTALL,
        )
    return found


def make_home(home: Path, *, port: int, memory: Memory, http_port: int | None = None) -> None:
    """Folders and neo4j.conf of a server that listens on loopback only; what is there is kept.

    The settings close what a query could reach outside the database: files, addresses, usage reports.
    """
    for name in ("conf", "data", "logs", "import", "plugins", "run"):
        (home / name).mkdir(parents=True, exist_ok=True)
    http = ["server.http.enabled=false"]
    if http_port is not None:
        http = ["server.http.enabled=true", f"server.http.listen_address=127.0.0.1:{http_port}"]
    lines = [
        "server.default_listen_address=127.0.0.1",
        f"server.bolt.listen_address=127.0.0.1:{port}",
        f"server.bolt.advertised_address=127.0.0.1:{port}",
        *http,
        "server.https.enabled=false",
        f"server.memory.pagecache.size={memory.page_cache}m",
        f"db.memory.transaction.max={memory.transaction}m",
        "db.tx_log.rotation.retention_policy=1 files",
        # Its threads wait for new work, and a stopping server for them: ten seconds of nothing (measured).
        "internal.server.bolt.thread_pool_shutdown_wait_time=1s",
        *SAFE,
    ]
    (home / "conf" / "neo4j.conf").write_text("".join(f"{line}\n" for line in lines), "utf-8")


SAFE: Final = (
    "server.directories.import=import",
    "dbms.security.allow_csv_import_from_file_urls=false",
    "internal.dbms.cypher_ip_blocklist=0.0.0.0/0,::/0",
    "dbms.usage_report.enabled=false",
)
"""Settings that keep queries inside the database (measured: a bare server reads any file and address)."""


def password_file(home: Path) -> Path:
    """Where the password of the server in `home` is, readable by its owner only."""
    return home / "password"


def set_password(home: Path, lib: Path) -> None:
    """Give a server that never ran a random password, once. It passes through files only."""
    file = password_file(home)
    if file.exists():
        return
    password = secrets.token_hex(20)
    descriptor = os.open(home / "password.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(password)
    # The tool reads its arguments from a file when told `@file`: no other process sees the password.
    admin(home, lib, ["dbms", "set-initial-password", f"@{home.resolve() / 'password.new'}"])
    (home / "password.new").rename(file)


def admin(home: Path, lib: Path, arguments: Sequence[str], heap_mb: int = 256) -> str:
    """Run neo4j-admin on the server in `home`; what it printed. Raises StoreError with its last lines."""
    # The parallel collector: an import takes a tenth less of the processors (measured).
    command = [java(), f"-Xmx{heap_mb}m", "-XX:+UseParallelGC", "-cp", f"{lib}/*", "org.neo4j.cli.AdminTool", *arguments]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StoreError(
            f"neo4j-admin {' '.join(arguments[:3])} failed.",
            known=(done.stdout + done.stderr).strip()[-1200:],
        )
    return done.stdout


def environment(home: Path) -> dict[str, str]:
    """The environment that points Neo4j's programs at `home`."""
    return {**os.environ, "NEO4J_HOME": str(home.resolve()), "NEO4J_CONF": str(home.resolve() / "conf")}
