"""Runs the commands shown in the documentation and compares, or rewrites, the output shown below them.

    python docs/console.py README.md docs/first-steps.md            compare
    python docs/console.py --write README.md docs/first-steps.md    rewrite

A block that starts with ```console holds commands (`$ ` in front, `> ` where they go on) and what they print, stdout and
stderr together. All blocks of a page run in one empty folder, in which `examples` is that of the
checkout. A last line `...` stands for more lines. Numbers may differ in their third digit, and
everything that measures this machine (seconds, rates, hashes of floats) may differ at will.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
_BLOCK: Final = re.compile(r"^```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER: Final = re.compile(r"^[-+]?\d[\d,]*\.?\d*(e[-+]?\d+)?$")
_MEASURED: Final = re.compile(r"\b[0-9a-f]{12,}\b|\b\d[\d,]*(\.\d+)? ?(s|ms|MB|GB|KB|prompts/s)\b|\([a-z ]+ \d+\.\d+(, [a-z ]+ \d+\.\d+)*\)")
_MORE: Final = "..."
_RULES: Final = frozenset("─━═-├┤┌┐└┘┼┬┴╭╮╰╯╞╡╪┏┓┡┩┳╇┗┛│┃+")
_WIDTH: Final = "120"


@dataclass(frozen=True)
class Step:
    """A command and the lines shown below it."""

    command: str
    shown: tuple[str, ...]


def steps(block: str) -> list[Step]:
    """The commands of a block with the output shown for each. Lines after `> ` continue a command."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif found and not found[-1][1] and line.startswith("> "):
            found[-1][0].append(line[2:])
        elif found:
            found[-1][1].append(line)
    return [Step("\n".join(command), tuple(shown)) for command, shown in found]


def run(command: str, folder: Path) -> list[str]:
    """What a command prints, line by line, blank ends of lines and of the whole cut."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": _WIDTH,
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


def differences(shown: tuple[str, ...], printed: list[str]) -> list[str]:
    """What the page and the output do not share, said for people; empty when they are alike.

    Words are compared, not lines: where a measured number is longer, a message wraps elsewhere.
    """
    expected = list(shown)
    while expected and not expected[-1]:
        expected.pop()
    if expected and expected[-1] == _MORE:
        expected.pop()
        printed = printed[: len(expected)]
    first = _first_difference(expected, printed)
    # Lines of stdout that go through a pipe and lines of stderr come in no promised order.
    if first is None or _first_difference(sorted(expected), sorted(printed)) is None:
        return []
    page, now = first
    return [f"the page says {page!r} where {now!r} was printed; all that was printed:", *printed]


def _first_difference(expected: list[str], printed: list[str]) -> tuple[str, str] | None:
    page_words, now_words = (_words(lines) for lines in (expected, printed))
    for page, now in zip_longest(page_words, now_words, fillvalue="(nothing)"):
        if not _same_word(page, now):
            return page, now
    return None


def _words(lines: list[str]) -> list[str]:
    text = " ".join(" ".join(lines).split())
    return _MEASURED.sub("<measured>", text).split()


def _same_word(page: str, now: str) -> bool:
    if page == now or (set(page) <= _RULES and set(now) <= _RULES):
        return True
    page, now = (word.strip("│┃|,:;()[]%") for word in (page, now))
    if _NUMBER.match(page) and _NUMBER.match(now):
        left, right = (float(word.replace(",", "")) for word in (page, now))
        return abs(left - right) <= max(0.02 * max(abs(left), abs(right)), 0.002)
    return page == now


def check(page: Path, *, write: bool) -> list[str]:
    """Run a page's commands; what differs, and with `write` put right in the page."""
    text = page.read_text("utf-8")
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "examples").symlink_to(ROOT / "examples")

        def rerun(match: re.Match[str]) -> str:
            lines = []
            for step in steps(match["body"]):
                printed = run(step.command, folder)
                differ = differences(step.shown, printed)
                if differ:
                    wrong.extend((f"{page.name}: $ {step.command}", *differ))
                more = bool(step.shown) and step.shown[-1] == _MORE
                shown = [*printed[: len(step.shown) - 1], _MORE] if more else printed
                lines += ["$ " + step.command.replace("\n", "\n> "), *shown]
            return "\n".join(["```console", *lines, "```"])

        rewritten = _BLOCK.sub(rerun, text)
    if write:
        page.write_text(rewritten, "utf-8")
    return wrong


def main() -> int:
    """Compare or rewrite the pages that are named."""
    parser = argparse.ArgumentParser(description="Run the commands shown in pages.")
    parser.add_argument("--write", action="store_true", help="rewrite the output shown")
    parser.add_argument("pages", nargs="+", type=Path)
    asked = parser.parse_args()
    wrong = [line for page in asked.pages for line in check(page, write=asked.write)]
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong and not asked.write else 0


if __name__ == "__main__":
    sys.exit(main())
