"""A Neo4j server of one's own, without an installer: `python -m flowatlas.stores.neo4j_server start`.

It is assembled into a folder (default `.neo4j`), gets a random password, listens on loopback, and
is stopped by its process id.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import psutil
import typer

from flowatlas.errors import FlowatlasError, StoreError
from flowatlas.stores.neo4j_home import Memory, assemble, environment, java, make_home, password_file, set_password

_ENTRY: Final = "org.neo4j.server.CommunityEntryPoint"
_OPENS: Final = tuple(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
)
_HANDSHAKE: Final = bytes.fromhex("6060b017") + b"\x00\x00\x04\x05" + b"\x00" * 12

_started: Final[dict[int, subprocess.Popen[bytes]]] = {}
"""Servers that this process started; they outlive it unless they are stopped."""


@dataclass(frozen=True)
class Server:
    """A server in the folder `home`, with its jars in `lib`, on `port` of loopback."""

    home: Path
    lib: Path
    port: int
    memory: Memory = field(default_factory=Memory)
    http_port: int | None = None
    java_options: tuple[str, ...] = ("-XX:+UseG1GC",)

    @property
    def uri(self) -> str:
        """The store URI of its database."""
        return f"neo4j://127.0.0.1:{self.port}/neo4j"

    @property
    def pid_file(self) -> Path:
        """The file with the process id of the running server."""
        return self.home / "run" / "neo4j.pid"

    def pid(self) -> int | None:
        """Process id of the running server, None when it does not run."""
        try:
            process = psutil.Process(int(self.pid_file.read_text()))
            ours = _ENTRY in process.cmdline() and f"--home-dir={self.home.resolve()}" in process.cmdline()
            running = ours and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.Error):
            return None
        return process.pid if running else None

    def start(self, wait: float = 180.0) -> int:
        """Assemble, configure and start the server, and wait until it answers; its process id.

        Starting a running server does nothing. Raises StoreError: no Java or Maven, the port is
        taken, the server ended (with its last words), it did not answer in `wait` seconds.
        """
        running = self.pid()
        if running is not None:
            return running
        if _taken(self.port):
            raise StoreError(f"Port {self.port} of 127.0.0.1 is in use.", next_step="Choose another one with --port.")
        assemble(self.lib)
        make_home(self.home, port=self.port, memory=self.memory, http_port=self.http_port)
        set_password(self.home, self.lib)
        process = self._launch()
        deadline = time.monotonic() + wait
        while not _answers(self.port):
            if process.poll() is not None:
                raise StoreError("The Neo4j server ended while it started.", known=self._last_words())
            if time.monotonic() > deadline:
                raise StoreError(f"The Neo4j server does not answer after {wait:g} s.", known=self._last_words())
            time.sleep(0.1)
        return process.pid

    def stop(self, wait: float = 60.0) -> bool:
        """Ask the server to stop and wait until it has; False when it did not run. Raises StoreError."""
        return self._end(signal.SIGTERM, wait)

    def kill(self) -> bool:
        """End the server at once, as a crash would; False when it did not run."""
        return self._end(signal.SIGKILL, 10.0)

    def _launch(self) -> subprocess.Popen[bytes]:
        home = self.home.resolve()
        command = [java(), *self.java_options, f"-Xms{self.memory.heap // 2}m", f"-Xmx{self.memory.heap}m", *_OPENS]
        command += ["--enable-native-access=ALL-UNNAMED", "-cp", f"{self.lib.resolve()}/*", _ENTRY]
        command += [f"--home-dir={home}", f"--config-dir={home / 'conf'}"]
        with (home / "logs" / "console.log").open("wb") as console:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=environment(home),
                start_new_session=True,
            )
        _started[process.pid] = process
        self.pid_file.write_text(f"{process.pid}\n")
        return process

    def _end(self, how: signal.Signals, wait: float) -> bool:
        pid = self.pid()
        if pid is None:
            return False
        process = psutil.Process(pid)
        os.kill(pid, how)
        try:
            process.wait(wait)
        except psutil.TimeoutExpired:
            raise StoreError(f"The Neo4j server (pid {pid}) is still stopping after {wait:g} s.") from None
        child = _started.pop(pid, None)
        if child is not None:
            child.wait()
        self.pid_file.unlink(missing_ok=True)
        return True

    def _last_words(self) -> str:
        try:
            return (self.home / "logs" / "console.log").read_text("utf-8", "replace").strip()[-1200:]
        except OSError:
            return ""


def _answers(port: int) -> bool:
    """Whether a server on `port` takes part in Neo4j's handshake."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(_HANDSHAKE)
            return len(connection.recv(4)) > 0
    except OSError:
        return False


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def in_folder(home: Path, port: int = 7687, http_port: int | None = None) -> Server:
    """The server that `make neo4j` starts in `home`."""
    return Server(home, home / "lib", port, http_port=http_port)


app = typer.Typer(
    help="A Neo4j Community server for flowatlas, on loopback.", no_args_is_help=True, pretty_exceptions_enable=False
)
HomeOption = Annotated[Path, typer.Option(help="Folder of the server.")]
PortOption = Annotated[int, typer.Option(help="Bolt port.", min=1, max=65535)]


@app.command()
def start(home: HomeOption = Path(".neo4j"), port: PortOption = 7687) -> None:
    """Start the server and print the lines that make flowatlas use it."""
    server = in_folder(home, port)
    typer.echo(f"Starting Neo4j in {home} (the first time it is fetched: 120 MB) ...", err=True)
    pid = server.start()
    typer.echo(f"Neo4j is running: {server.uri} (pid {pid}). Stop it with make neo4j-stop.", err=True)
    typer.echo(f"export FLOWATLAS_STORE={server.uri}")
    typer.echo("export FLOWATLAS_NEO4J_USER=neo4j")
    typer.echo(f"export FLOWATLAS_NEO4J_PASSWORD_FILE={password_file(home).resolve()}")


@app.command()
def stop(home: HomeOption = Path(".neo4j")) -> None:
    """Stop the server."""
    stopped = in_folder(home).stop()
    typer.echo("Neo4j has stopped." if stopped else "Neo4j is not running.", err=True)


@app.command()
def status(home: HomeOption = Path(".neo4j")) -> None:
    """Say whether the server runs (exit code 1 when it does not)."""
    pid = in_folder(home).pid()
    typer.echo(f"running (pid {pid})" if pid else "not running")
    raise typer.Exit(0 if pid else 1)


def run() -> None:
    """Run the commands; errors are one message."""
    try:
        app()
    except FlowatlasError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run()
