"""flowatlas: full flow graphs of transformer forward passes, for whole data sets, in a graph database."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowatlas.stores import open_store as open_store

    __version__: str

__all__ = ["__version__", "open_store"]


def __getattr__(name: str) -> object:
    """`open_store` and `__version__` on first use: `import flowatlas` loads no driver and looks for no metadata."""
    if name == "open_store":
        from flowatlas.stores import open_store

        return open_store
    if name == "__version__":
        return _version()
    raise AttributeError(name)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("flowatlas")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"
