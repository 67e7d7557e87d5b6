"""Files of caches: whole or not there, whoever else writes them, and done without where they cannot be written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def keep(file: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write `file` under a name of its own, synchronise and rename it; a full disk is no error."""
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
