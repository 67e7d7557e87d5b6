"""One server to fork processes from: a fresh interpreter that has imported what they need, so that they start in milliseconds."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

_preloaded: tuple[str, ...] = ()


def forked_from(*modules: str) -> ForkServerContext:
    """A context whose processes are forked from a server that has imported `modules`.

    A process can have one such server: one with other modules is ended first.
    """
    global _preloaded
    context = multiprocessing.get_context("forkserver")
    if modules != _preloaded:
        forkserver._forkserver._stop()
        context.set_forkserver_preload(list(modules))
        _preloaded = modules
    return context
