"""Is the store there? The page asks every few seconds and says clearly when it is not."""

from __future__ import annotations

import logging
from typing import Any, Final

from dash import Dash, set_props
from flask import jsonify

from dashboard.source import Source
from flowatlas.errors import FlowatlasError

PATH: Final = "/_flowatlas/health"
log = logging.getLogger(__name__)


def watch(app: Dash, source: Source) -> None:
    """Answer PATH with {"ok", "prompts", "message"}."""

    @app.server.route(PATH)
    def _health() -> Any:
        try:
            return jsonify(ok=True, prompts=source.count(), message="")
        except FlowatlasError as error:
            return jsonify(ok=False, prompts=0, message=str(error))
        except Exception as error:  # a driver's own error: the page must still hear of it
            log.exception("the store does not answer")
            return jsonify(ok=False, prompts=0, message=f"{type(error).__name__}: {error}"[:300])


def explain(error: Exception) -> None:
    """A failed callback as a message on the page; what is no fault of the user goes to the log."""
    if isinstance(error, FlowatlasError):
        text = str(error)
    else:
        log.error("a callback failed", exc_info=error)
        text = f"The server could not do this ({type(error).__name__}). Its log says more."
    set_props("say", {"data": {"text": text, "kind": "error"}})
