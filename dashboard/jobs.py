"""Ingest a typed prompt in a process of its own, through the command line, and say how it goes.

Every worker of a server shares one `Jobs` (`dashboard.serving.crew`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

KEPT_JOBS: Final = 20
LONGEST_SECONDS: Final = 600.0
LONGEST_PROMPT: Final = 20_000

_STAGES: Final = (
    ("wrote", 85, "writing the graph to the store"),
    ("shard", 75, "writing the graph"),
    ("decompos", 55, "taking the forward pass apart"),
    ("capture", 45, "running the model"),
    ("neurons", 35, "projecting the model's neurons"),
    ("load", 20, "loading the model"),
)


@dataclass(frozen=True)
class Status:
    """How an ingest goes: percent and words while it runs, `problem` when it failed."""

    text: str
    state: Literal["running", "done", "failed"]
    percent: int
    words: str
    seconds: float
    problem: str


@dataclass
class Job:
    """One ingest. `folder` holds its prompt, its log and its report."""

    text: str
    folder: Path
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.started

    def log(self) -> str:
        """What the process has said so far."""
        file = self.folder / "log.txt"
        return file.read_text("utf-8", errors="replace") if file.exists() else ""

    def state(self) -> Literal["running", "done", "failed"]:
        """Whether it still runs, and if not how it ended; a job that runs too long is ended."""
        code = self.process.poll()
        if code is None and self.seconds > LONGEST_SECONDS:
            self.process.kill()
            code = self.process.wait()
        if code is None:
            return "running"
        return "done" if code == 0 and not self.refused() else "failed"

    def refused(self) -> list[str]:
        """Reasons for which the prompt was not taken."""
        file = self.folder / "report.json"
        if not file.exists():
            return []
        report: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return [str(reason) for reason in report.get("refused") or []]

    def progress(self) -> tuple[int, str]:
        """Percent and words for people."""
        said = self.log().lower()
        for word, percent, words in _STAGES:
            if word in said:
                return percent, words
        return min(5 + int(self.seconds), 18), "starting"

    def problem(self) -> str:
        """Why it failed, without the noise of logs."""
        lines = [line for line in self.log().splitlines() if line.strip()]
        marked = [i for i, line in enumerate(lines) if line.startswith("error:")]
        if marked:
            return "\n".join(lines[marked[-1] :]).removeprefix("error: ")
        return "\n".join(self.refused()) or "\n".join(lines[-3:]) or f"It ended with code {self.process.returncode}."


class Jobs:
    """The ingests that this server has started."""

    def __init__(self, store_uri: str) -> None:
        self.store_uri = store_uri
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, prompt: str, target: str | None, foil: str | None, model: str) -> str:
        """Start an ingest; its id. Raises ValueError with a message for people."""
        if not prompt.strip():
            raise ValueError("Type a prompt first.")
        if len(prompt) > LONGEST_PROMPT:
            raise ValueError(f"The prompt has {len(prompt):,} characters; at most {LONGEST_PROMPT:,}.")
        with self._lock:
            if any(job.state() == "running" for job in self._jobs.values()):
                raise ValueError("Another prompt is being ingested; try again when it is done.")
            folder = Path(tempfile.mkdtemp(prefix="flowatlas-prompt-"))
            row = {"prompt": prompt, "target": target or None, "foil": foil or None, "dataset": "typed"}
            row = {name: value for name, value in row.items() if value is not None}
            (folder / "prompt.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
            name = folder.name
            self._jobs[name] = Job(prompt, folder, self._run(folder, model))
            for old in list(self._jobs)[:-KEPT_JOBS]:
                del self._jobs[old]
        return name

    def _run(self, folder: Path, model: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flowatlas", "--verbose", "ingest", str(folder / "prompt.jsonl")]
        command += ["--store", self.store_uri, "--model", model, "--report", str(folder / "report.json")]
        with (folder / "log.txt").open("wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def status(self, name: str) -> Status | None:
        """How the job of that id goes."""
        with self._lock:
            job = self._jobs.get(name)
            if job is None:
                return None
            state = job.state()
            percent, words = job.progress()
            return Status(job.text, state, percent, words, job.seconds, job.problem() if state == "failed" else "")
