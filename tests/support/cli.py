"""The command line as its users meet it: in this process (quick), or as a process of its own (to kill it)."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from flowatlas.cli.main import run
from flowatlas.settings import settings

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """What a command printed and how it left."""

    code: int
    stdout: str
    stderr: str


def flowatlas(*arguments: str | Path, **environment: str) -> Result:
    """Run `flowatlas ARGUMENTS` in this process; `environment` is set meanwhile."""
    out, err = io.StringIO(), io.StringIO()
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    settings.cache_clear()
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run([str(argument) for argument in arguments])
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        settings.cache_clear()
    return Result(code, out.getvalue(), err.getvalue())


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start `flowatlas ARGUMENTS` as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "flowatlas", *(str(argument) for argument in arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
