"""Runs the commands shown in the documentation and compares, or rewrites, the output shown below them.

    python docs/console.py README.md docs/first-steps.md            compare
    python docs/console.py --write README.md docs/first-steps.md    rewrite

A block that starts with ```console holds commands (`$ ` in front, `> ` where they go on) and what they print, stdout and
stderr together. All blocks of a page run in one empty folder, in which `examples` is that of the
checkout. Plain `flowatlas` commands (and those cut by `| head -n`) run one after another in one warm process, since a
start takes seconds; everything else that needs a shell (pipes, here-documents, other programs) gets one. A last line `...` stands for more lines. Numbers may differ in their third digit, and
everything that measures this machine (seconds, rates, hashes of floats) may differ at will.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


def plain_words(command: str) -> tuple[list[str], int | None] | None:
    """The words after `flowatlas` and how many lines a last `| head -n` leaves; None for what needs a shell."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words = list(lexer)
    lines = None
    if words[-4:-1] == ["|", "head", "-n"] and words[-1].isdigit():
        words, lines = words[:-4], int(words[-1])
    if words[:1] != ["flowatlas"] or any(set(word) <= set("|&;<>()") for word in words) or set("$`~\n") & set(command):
        return None
    return words[1:], lines


class Console:
    """Runs commands in `folder` and gives what they print."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "COLUMNS": _WIDTH,
            "NO_COLOR": "1",
            "TERM": "dumb",
        }
        self._warm: subprocess.Popen[str] | None = None

    def run(self, command: str) -> list[str]:
        """What a command prints, line by line, blank ends of lines and of the whole cut."""
        plain = plain_words(command)
        printed = self._in_shell(command) if plain is None else self._in_warm_process(*plain)
        lines = [line.rstrip() for line in printed.splitlines()]
        while lines and not lines[-1]:
            lines.pop()
        while lines and not lines[0]:
            lines.pop(0)
        return lines

    def close(self) -> None:
        """End the warm process."""
        if self._warm is not None:
            self._warm.communicate()

    def _in_shell(self, command: str) -> str:
        return subprocess.run(
            ["bash", "-c", command], cwd=self._folder, env=self._environment, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ).stdout  # fmt: skip

    def _in_warm_process(self, words: list[str], lines: int | None) -> str:
        if self._warm is None:
            self._warm = subprocess.Popen(
                [sys.executable, __file__, "--answer"], cwd=self._folder, env=self._environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        assert self._warm.stdin is not None
        assert self._warm.stdout is not None
        print(json.dumps({"words": words, "piped": lines is not None}), file=self._warm.stdin, flush=True)
        out: str
        messages: str
        out, messages = json.loads(self._warm.stdout.readline())
        return messages + "".join(out.splitlines(keepends=True)[:lines])


@contextmanager
def console(folder: Path) -> Iterator[Console]:
    """A Console that is closed at the end."""
    found = Console(folder)
    try:
        yield found
    finally:
        found.close()


def answer() -> None:
    """Run `flowatlas` with the words of each line of stdin; print what came on stdout and on stderr, both as JSON.

    What is not piped comes in the order in which it was printed, all as stdout.
    """
    from flowatlas.cli.main import run
    from flowatlas.settings import settings

    questions, replies = sys.stdin, sys.stdout
    with Path(os.devnull).open() as nothing:
        sys.stdin = nothing
        for line in questions:
            question = json.loads(line)
            settings.cache_clear()
            out, messages = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
            shown = messages if question["piped"] else out
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(shown), contextlib.suppress(SystemExit):
                run(question["words"])
            for text in (out, messages):
                text.seek(0)
            print(json.dumps([out.read(), messages.read()]), file=replies, flush=True)


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
    with tempfile.TemporaryDirectory() as name, console(Path(name)) as here:
        folder = Path(name)
        (folder / "examples").symlink_to(ROOT / "examples")

        def rerun(match: re.Match[str]) -> str:
            lines = []
            for step in steps(match["body"]):
                printed = here.run(step.command)
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
    if sys.argv[1:] == ["--answer"]:
        answer()
        return 0
    parser = argparse.ArgumentParser(description="Run the commands shown in pages.")
    parser.add_argument("--write", action="store_true", help="rewrite the output shown")
    parser.add_argument("pages", nargs="+", type=Path)
    asked = parser.parse_args()
    wrong = [line for page in asked.pages for line in check(page, write=asked.write)]
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong and not asked.write else 0


if __name__ == "__main__":
    sys.exit(main())
