"""`flowatlas ingest`: prompts in, graphs stored."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer
from rich.markup import escape

from flowatlas.cli.console import human_bytes, human_seconds, people
from flowatlas.errors import UsageError

if TYPE_CHECKING:
    from ingest.pipeline.plan import Plan
    from ingest.pipeline.report import Progress, Report
    from ingest.prompts import Format

NOTES_SHOWN = 5
ASK_ABOVE_BYTES = 5_000_000_000


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("ingest")(ingest)


def ingest(
    prompts: Annotated[
        str, typer.Argument(help="File of prompts (.txt, .jsonl, .json, .csv, .parquet), or - for stdin.")
    ],
    model: Annotated[str | None, typer.Option(help="demo, a model folder, or a hub name.")] = None,
    store: Annotated[str | None, typer.Option(help="Store URI: a path, or neo4j://host:7687/database.")] = None,
    shards: Annotated[Path | None, typer.Option(help="Folder of the shards; default: beside the store.")] = None,
    prompt_field: Annotated[str | None, typer.Option(help="Field that holds the prompt.")] = None,
    target_field: Annotated[str | None, typer.Option(help="Field that holds the target.")] = None,
    foil_field: Annotated[str | None, typer.Option(help="Field that holds the foil.")] = None,
    dataset_field: Annotated[str | None, typer.Option(help="Field that holds the data set's name.")] = None,
    group_field: Annotated[str | None, typer.Option(help="Field that holds the group.")] = None,
    template: Annotated[
        str | None, typer.Option(help="Text to fill with fields, such as 'The capital of {country} is'.")
    ] = None,
    all_templates: Annotated[
        bool, typer.Option("--all-templates", help="Use every template of a relation file.")
    ] = False,
    file_format: Annotated[
        str | None, typer.Option("--format", help="txt, jsonl, json, csv or parquet, where the name does not tell.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take at most this many prompts.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Take this many prompts at random.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of --sample.")] = 0,
    only_correct: Annotated[
        bool, typer.Option("--only-correct", help="Only prompts that the model answers right.")
    ] = False,
    positions: Annotated[str, typer.Option(help="Query positions: last, all, or a list such as 0,3,-1.")] = "last",
    keep: Annotated[str, typer.Option(help="Neuron relationships to store: full, top:K or mass:P.")] = "full",
    lens: Annotated[
        str, typer.Option(help="Projections to store: circuit, and with commas naive, no_final_norm.")
    ] = "circuit",
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where to compute; auto: the faster, measured.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start however large it becomes.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first prompt that fails.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a report of the run to this JSON file.")] = None,
) -> None:
    """Run the model over prompts and store the flow graph of every forward pass."""
    from ingest.prompts import ReadOptions, read_prompts

    options = ReadOptions(
        prompt_field=prompt_field, target_field=target_field, foil_field=foil_field, dataset_field=dataset_field,
        group_field=group_field, template=template, all_templates=all_templates, format=cast("Format | None", file_format),
        seed=seed, limit=None if only_correct else limit, sample=None if only_correct else sample,
    )  # fmt: skip
    inputs = read_prompts(prompts, options)
    # A file that cannot be read is told before the model's libraries are loaded.
    from flowatlas.settings import cache_folder, settings
    from flowatlas.stores import open_store, shards_path
    from ingest.architecture.load import load_model
    from ingest.lens.on_device import check_device
    from ingest.pipeline.correct import Selection
    from ingest.pipeline.plan import plan
    from ingest.pipeline.prepare import Choices
    from ingest.pipeline.run import Job
    from ingest.pipeline.run import ingest as run_ingest

    choices = Choices(positions, keep, lens)
    where = device or settings().device
    check_device(where)
    loaded = load_model(model or settings().model)
    uri = store or settings().store
    folder = shards or settings().shards or shards_path(uri)
    with stopping() as stop, open_store(uri, mode="write") as opened:
        expected = None
        if prompts != "-" and not only_correct:
            planned = plan(read_prompts(prompts, options), loaded, choices, opened.prompt_keys())
            expected = announce(planned, folder, yes=yes)
        job = Job(
            store=opened,
            shards=folder,
            choices=choices,
            strict=strict,
            threads=os.cpu_count() or 1,
            cache=cache_folder(),
            factor_bytes=int(settings().factor_cache_gb * 1e9),
            device=where,
            stop=stop,
            selection=Selection(sample, seed, limit) if only_correct else None,
        )
        with progress_bar(expected) as tell:
            done = run_ingest(inputs, loaded, job, tell)
    summarize(done)
    right = done.prompts + done.already_there
    if only_correct and sample is not None and right < sample and not done.interrupted:
        people.print(f"[yellow]note:[/] the model answers {right} of the prompts right, fewer than --sample asks for")
    if report is not None:
        report.write_text(json.dumps(asdict(done), indent=1) + "\n", "utf-8")
    if done.interrupted:
        raise typer.Exit(130)


def announce(planned: Plan, folder: Path, *, yes: bool) -> int:
    """Say what is about to be stored and ask when it is large; how many prompts there will be.

    Raises StoreError when the disk is too small, UsageError when nobody is there to be asked.
    """
    from ingest.pipeline.plan import check_space

    check_space(planned, folder)
    size = (
        f"{planned.prompts:,} new prompts: about {planned.size.states:,} states, {planned.size.relationships:,} "
        f"relationships, {human_bytes(planned.size.bytes)} on disk, {human_seconds(planned.seconds)}"
    )
    people.print(size)
    if planned.size.bytes > ASK_ABOVE_BYTES and not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "That is a lot.", next_step="Say --yes, take fewer prompts (--limit), or keep less (--keep)."
            )
        typer.confirm("Go on?", abort=True, err=True)
    return planned.prompts


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """The first interrupt asks to stop after the batch at hand, the second one interrupts at once."""
    asked = False

    def ask(_: int, __: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        people.print("\n[yellow]Stopping after the prompts at hand; interrupt again to stop at once.[/]")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress_bar(expected: int | None) -> Iterator[Progress]:
    """A bar with the prompts done, their rate and the bytes written."""
    from rich import progress as rich_progress

    columns = (
        rich_progress.SpinnerColumn(),
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=people, transient=True) as bar:
        task = bar.add_task("ingest", total=expected, rate="")
        started = time.monotonic()

        def tell(report: Report, stage: str = "ingest") -> None:
            rate = report.computed / max(time.monotonic() - started, 1e-9)
            text = f"{rate:.1f} prompts/s, {human_bytes(report.bytes)}"
            bar.update(task, description=stage, completed=report.computed, rate=text)

        yield tell


def summarize(report: Report) -> None:
    """Say what was done, what was not, and where the time went."""
    for place in report.refused[:NOTES_SHOWN]:
        people.print(f"[yellow]not ingested:[/] {escape(f'{place.where}: {place.reason}')}")
    for note in report.notes[:NOTES_SHOWN]:
        people.print(f"[yellow]note:[/] {escape(note)}")
    hidden = max(0, len(report.refused) - NOTES_SHOWN) + max(0, len(report.notes) - NOTES_SHOWN)
    if hidden:
        people.print(f"... and {hidden} more (all of them with --report FILE)")
    people.print(
        f"{report.prompts} prompts ingested, {report.already_there} already there, {len(report.refused)} not ingested: "
        f"{report.states:,} states, {report.relationships:,} relationships, {human_bytes(report.bytes)} of shards"
    )
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items())
    people.print(f"{report.total_seconds:.1f} s ({stages}) into {escape(report.store)}")
    if report.interrupted:
        people.print("[yellow]Interrupted; the same command goes on from here.[/]")
