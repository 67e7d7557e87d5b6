"""The whole report over synthetic prompts of GPT-2 small's shape: total time, the slowest figure, memory.

    python -m benchmarks.analyses [--quick] [--prompts 100]

Floor: 120 s for 100 prompts, after the ingest. The model-dependent figures (norms, weights) are not
among them: synthetic prompts have no model.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import synthetic
from benchmarks.queries import QUICK, load
from benchmarks.report import machine, ratio
from dashboard.report.folder import write_report
from dashboard.report.page import About
from flowatlas.stores import open_store
from query.analyses import Figure, Sample, analyze

FLOOR: Final = 120.0


def measure(uri: str, out: Path, prompts: int) -> float:
    """Make the report of a store and print what it cost; seconds in all."""
    start = time.perf_counter()
    with open_store(uri) as store:
        figures = list(analyze(Sample(store)))
        asked = time.perf_counter()
        files = write_report(out, About("benchmark", {}), figures)
    end = time.perf_counter()
    shown = [figure for figure in figures if isinstance(figure, Figure)]
    for figure in sorted(shown, key=lambda f: -f.seconds):
        print(f"{figure.seconds:8.2f} s  {figure.name}")
    size = sum(file.stat().st_size for file in files) / 1e6
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"{len(shown)} figures over {prompts} prompts: {asked - start:.1f} s of analyses, {end - asked:.1f} s of drawing, {size:.1f} MB, at most {memory:.0f} MB of memory"
    )
    ratio(f"slowest figure of the report, {prompts} prompts, s", max(figure.seconds for figure in shown))
    ratio(f"memory of the report, {prompts} prompts, MB", memory)
    return end - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Load, measure and print."""
    parser = argparse.ArgumentParser(description="Measure the report of all analyses.")
    parser.add_argument("--quick", action="store_true", help="a small shape and few prompts")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--store", help="a loaded store, measured as it is")
    options = parser.parse_args(arguments)
    print(machine())
    shape, prompts = (QUICK, 20) if options.quick else (synthetic.GPT2_SMALL, options.prompts)
    with tempfile.TemporaryDirectory() as folder:
        uri = options.store or str(Path(folder) / "analyses.lbug")
        if not options.store:
            load(uri, shape, prompts)
        seconds = measure(uri, Path(folder) / "report", prompts)
        ratio(f"report over {prompts} prompts, s", seconds, at_most=FLOOR * max(1.0, prompts / 100))


if __name__ == "__main__":
    main()
