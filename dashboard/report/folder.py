"""A report as a folder: `index.html`, `figures/` (SVG and PNG) and `data/` (Parquet and CSV)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from dashboard.report.drawn import flow_png
from dashboard.report.page import About, flow_svg, page
from dashboard.report.pictures import pictures
from flowatlas.errors import FlowatlasError, UsageError
from query.analyses.records import Figure, Flow, Missing


def checked_folder(out: Path, *, force: bool) -> None:
    """Refuse a folder that holds something, unless it may be replaced. Raises UsageError."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file.", next_step="Name a folder that does not exist yet.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise UsageError(f"The folder {out} exists already and is not empty.", next_step="Name another one, or replace it with --force.")
    if out.is_dir() and force and any(out.iterdir()) and not (out / "index.html").is_file():
        raise UsageError(f"The folder {out} holds something that is no report.", next_step="Name another one.")


def write_report(out: Path, about: About, figures: Sequence[Figure | Missing], *, force: bool = False) -> list[Path]:
    """Write a report; the folder is there whole or not at all. The paths of its files. Raises UsageError, FlowatlasError."""
    checked_folder(out, force=force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise FlowatlasError(f"{out} cannot be written: {error.strerror or error}.") from error
    try:
        _fill(temporary, about, figures)
        if out.exists():
            shutil.rmtree(out)
        temporary.chmod(0o755)
        temporary.rename(out)
    except OSError as error:
        raise FlowatlasError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _fill(folder: Path, about: About, figures: Sequence[Figure | Missing]) -> None:
    (folder / "figures").mkdir()
    (folder / "data").mkdir()
    files: dict[str, list[str]] = {}
    for figure in figures:
        if isinstance(figure, Missing):
            continue
        files[figure.name] = []
        for name, content in (*_pictures(figure), *_data(figure)):
            (folder / name).write_bytes(content)
            files[figure.name].append(name)
    (folder / "index.html").write_text(page(about, figures, files), "utf-8")


def _pictures(figure: Figure) -> Iterator[tuple[str, bytes]]:
    for kind, content in pictures(figure.title, figure.panels).items():
        yield f"figures/{figure.name}.{kind}", content
    flows = [panel for panel in figure.panels if isinstance(panel, Flow)]
    for number, panel in enumerate(flows, 1):
        name = f"figures/{figure.name}" + (f"-{number}" if len(flows) > 1 else "")
        yield f"{name}.svg", flow_svg(panel).encode("utf-8")
        yield f"{name}.png", flow_png(panel)


def _data(figure: Figure) -> Iterator[tuple[str, bytes]]:
    import io

    buffer = io.BytesIO()
    figure.data.write_parquet(buffer)
    yield f"data/{figure.name}.parquet", buffer.getvalue()
    yield f"data/{figure.name}.csv", figure.data.write_csv().encode("utf-8")
