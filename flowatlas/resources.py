"""Files that ship with the package: named queries, model descriptions, the demo model.

In a checkout they are top-level folders; in an installed wheel they lie under `flowatlas/_resources`.
The checkout comes first, so that an editable install never reads a stale copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flowatlas.errors import FlowatlasError

_PACKAGE: Final = Path(__file__).resolve().parent
_IN_CHECKOUT: Final = {"demo_model": Path("examples/demo_model")}


def resource(name: str) -> Path:
    """The folder `cypher`, `model_configs` or `demo_model`. Raises FlowatlasError when it is missing."""
    candidates = (_PACKAGE.parent / _IN_CHECKOUT.get(name, Path(name)), _PACKAGE / "_resources" / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FlowatlasError(
        f"The folder '{name}' that ships with flowatlas is missing.",
        known=f"Looked in {' and '.join(str(path) for path in candidates)}.",
        next_step="Install flowatlas again.",
    )
