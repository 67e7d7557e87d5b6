"""Runs every measurement of this folder in turn, each in a process of its own, and prints one report.

    python -m benchmarks [--quick | --large] [NAME ...]

Leaves with 1 when a measurement failed or did not keep its limit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.report import Ratio, machine

FOLDER: Final = Path(__file__).parent
LARGE: Final = {"ingest": ["--prompts", "1000"], "queries": ["--prompts", "100", "1000", "--neo4j"]}
"""What `--large` asks of a measurement: an ingest of 1,000 prompts, named queries on as many, and on a Neo4j server."""
NOT_MEASUREMENTS: Final = {"__init__", "__main__", "report", "synthetic"}


@dataclass
class Outcome:
    """What one module measured."""

    name: str
    seconds: float = 0.0
    code: int = 0
    ratios: list[Ratio] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether it ran to its end and kept every limit."""
        return self.code == 0 and all(ratio.holds for ratio in self.ratios)


def measurements() -> list[str]:
    """Names of all modules that measure something."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in NOT_MEASUREMENTS)


def run(name: str, *, quick: bool, large: bool = False) -> Outcome:
    """Run one module, passing its output on line by line."""
    outcome = Outcome(name)
    started = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else []), *(LARGE.get(name, []) if large else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=FOLDER.parent) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if found := Ratio.read(line):
                outcome.ratios.append(found)
    outcome.code = process.returncode
    outcome.seconds = time.perf_counter() - started
    return outcome


def report(outcomes: list[Outcome], *, quick: bool) -> str:
    """All ratios in one table."""
    lines = ["", f"flowatlas benchmarks{' (quick: small sizes)' if quick else ''}", machine(), ""]
    width = max((len(ratio.name) for outcome in outcomes for ratio in outcome.ratios), default=0)
    for outcome in outcomes:
        failed = "" if outcome.code == 0 else f"  FAILED (exit code {outcome.code})"
        lines.append(f"{outcome.name}: {outcome.seconds:.0f} s{failed}")
        for ratio in outcome.ratios:
            limit = "" if ratio.bound is None else f"at {ratio.side} {ratio.bound:g}"
            verdict = "" if ratio.bound is None else ("ok" if ratio.holds else "NOT KEPT")
            lines.append(f"  {ratio.name:<{width}}  {ratio.value:>10.4g}  {limit:<14} {verdict}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Run the measurements that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure flowatlas.")
    parser.add_argument("--quick", action="store_true", help="small sizes: a check that every measurement runs")
    parser.add_argument("--large", action="store_true", help="the largest sizes too: an hour more, 10 GB of disk")
    parser.add_argument("names", nargs="*", help=f"which ones ({', '.join(measurements())}); default: all")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in measurements()]
    if unknown:
        parser.error(f"there is no measurement '{unknown[0]}'; known: {', '.join(measurements())}")
    outcomes = []
    for name in asked.names or measurements():
        print(f"\n== {name}", flush=True)
        outcomes.append(run(name, quick=asked.quick, large=asked.large))
    print(report(outcomes, quick=asked.quick))
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
