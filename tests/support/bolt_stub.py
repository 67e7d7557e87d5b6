"""A listener that speaks just enough of the Bolt protocol to say which version of Neo4j it is."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def _text(value: str) -> bytes:
    data = value.encode()
    return (bytes([0x80 + len(data)]) if len(data) < 16 else b"\xd0" + bytes([len(data)])) + data


def _success(**fields: str) -> bytes:
    body = b"\xb1\x70" + bytes([0xA0 + len(fields)]) + b"".join(_text(k) + _text(v) for k, v in fields.items())
    return struct.pack(">H", len(body)) + body + b"\x00\x00"


@contextmanager
def old_server(agent: str, protocol: bytes) -> Iterator[int]:
    """The port of a listener that offers `protocol` (four bytes, zeros: none of the driver's) as `agent`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read(20)
            self.wfile.write(protocol)
            if protocol == bytes(4):
                return
            while size := self.rfile.read(2):
                length = struct.unpack(">H", size)[0]
                if length:
                    self.rfile.read(length)
                else:
                    self.wfile.write(_success(server=agent, connection_id="bolt-1"))

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Listener(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield listener.server_address[1]
        finally:
            listener.shutdown()
            thread.join()
