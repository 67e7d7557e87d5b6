"""What every answer of the server must satisfy: the password, and a strict content security policy."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any, Final

from dash import Dash
from flask import Flask, Response, request
from flask_compress import Compress

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def protect(app: Dash, password: str | None) -> None:
    """Compress, set headers, ask for the password. Call it after all callbacks are registered."""
    server: Flask = app.server
    server.config["COMPRESS_MIMETYPES"] = ["text/html", "text/css", "application/json", "application/javascript", "text/javascript"]
    server.config["COMPRESS_ALGORITHM"] = ["gzip"]
    Compress(server)
    server.after_request(_read_whole)
    policy = _policy(app.csp_hashes())
    if password:
        server.before_request(lambda: _ask(password))

    @server.after_request
    def _secure(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response


def _read_whole(response: Response) -> Response:
    """Read a file that would be streamed, and close it: what is streamed is left open when it is compressed."""
    if response.direct_passthrough and response.status_code == 200:
        response.direct_passthrough = False
        streamed = response.response
        response.set_data(response.get_data())
        if hasattr(streamed, "close"):
            streamed.close()
    return response


def _policy(hashes: Sequence[str]) -> str:
    scripts = " ".join(["'self'", *hashes])
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "worker-src blob:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _ask(password: str) -> Any:
    given = request.authorization.password if request.authorization and request.authorization.type == "basic" else None
    if given is not None and hmac.compare_digest(given.encode(), password.encode()):
        return None
    return Response("A password is needed.\n", 401, {"WWW-Authenticate": 'Basic realm="flowatlas", charset="UTF-8"'})
