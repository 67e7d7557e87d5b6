"""flowatlas: full flow graphs of transformer forward passes, for whole data sets, in a graph database."""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowatlas.stores import open_store as open_store

try:
    __version__ = version("flowatlas")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__", "open_store"]


def __getattr__(name: str) -> object:
    """Import `open_store` on first use, so that `import flowatlas` loads no database driver."""
    if name == "open_store":
        from flowatlas.stores import open_store

        return open_store
    raise AttributeError(name)
