"""An ingest from beginning to end: what is already there, what is new, batch after batch into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from flowatlas.errors import InputError, ModelError
from flowatlas.settings import settings
from flowatlas.shard_writer import ShardWriter, write_shard
from flowatlas.shards import Shard, remove_unfinished, shards
from flowatlas.stores.base import Store
from flowatlas.stores.memory import give_back, return_early
from ingest.lens.lens import LogitLens
from ingest.neurons import TargetRanks
from ingest.neurons.kept import kept
from ingest.neurons.table import model_table, neuron_table
from ingest.pipeline.batch import Seconds, Workshop, graph_pieces
from ingest.pipeline.correct import Selection, answered_right
from ingest.pipeline.memory import MemoryWatch
from ingest.pipeline.prepare import Choices, Prepared, Refused, prepare
from ingest.pipeline.report import Progress, Report
from ingest.pipeline.windows import asked_tokens, batches, looking_ahead, windows
from ingest.pipeline.writer import StoreWriter

if TYPE_CHECKING:
    from ingest.architecture.load import LoadedModel
    from ingest.lens.on_device import Device
    from ingest.prompts import Broken, PromptInput


def _silent(_: Report, __: str = "") -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Job:
    """Where an ingest writes, and how."""

    store: Store
    shards: Path
    choices: Choices = field(default_factory=Choices)
    strict: bool = False
    threads: int = 1
    cache: Path | None = None
    factor_bytes: int = 0
    device: Device = "cpu"
    stop: Callable[[], bool] = lambda: False
    selection: Selection | None = None


def ingest(
    inputs: Iterable[PromptInput | Broken], model: LoadedModel, job: Job, progress: Progress | None = None
) -> Report:
    """Ingest every prompt that the store does not have. A prompt that fails does not stop the others.

    Whole shards that an earlier run left are loaded instead of computed again. Raises InputError for
    the first broken or refused prompt where `job.strict`, and when no prompt at all was usable.
    """
    started = time.perf_counter()
    return_early()
    tell: Progress = progress or _silent
    report = Report(model.decoder.name, job.store.uri)
    job.shards.mkdir(parents=True, exist_ok=True)
    remove_unfinished(job.shards)
    workshop = _workshop(model, job)
    report.device = workshop.lens.device
    _ensure_model(workshop, job)
    have = set(job.store.prompt_keys())
    on_disk = _keys_on_disk(job.shards, model.decoder.fingerprint)
    prepared = _usable(inputs, model, job, report)
    if job.selection is not None:
        prepared = answered_right(prepared, workshop, job.selection)
    with MemoryWatch() as memory, StoreWriter(job.store, workshop.seconds, report.add) as writer:
        for window, later in looking_ahead(windows(prepared, workshop)):
            new = _without_known(window, have, report)
            fresh = _load_finished(new, on_disk, writer, report)
            tell(report)
            if memory.most > settings().ingest_memory_mb << 20:
                writer.wait()
            _rank_targets(workshop, fresh, [p for p in later if p.key not in have and p.key not in on_disk])
            shard = _computed(workshop, fresh, job, report, tell)
            if shard is not None:
                report.add_shard(shard)
                writer.write(shard)
            have.update(p.key for p in new)
            if job.stop():
                report.interrupted = True
                break
        tell(report, "store")
        writer.finish()
    tell(report)
    report.seconds = workshop.seconds.stages
    report.total_seconds = time.perf_counter() - started
    _refuse_nothing(report)
    return report


def _workshop(model: LoadedModel, job: Job) -> Workshop:
    lens = LogitLens.of(
        model.decoder, threads=job.threads, cache=job.cache, cache_bytes=job.factor_bytes, device=job.device
    )
    if lens.device == "cuda":
        from ingest.lens.on_device import fits

        if fits(model.size):
            model.to("cuda")
    return Workshop(model, lens, TargetRanks(model.decoder, lens, job.cache), job.choices, job.threads, Seconds())


def _ensure_model(workshop: Workshop, job: Job) -> None:
    """The model and its neurons, projected once, are in the store before any prompt of it."""
    fingerprint = workshop.decoder.fingerprint
    found = [s for s in shards(job.shards) if s.manifest.kind == "model" and s.manifest.model == fingerprint]
    if not found:
        with workshop.seconds.of("static neurons"):
            neurons = kept(
                job.cache,
                fingerprint,
                workshop.ranks.index.total,
                lambda: neuron_table(workshop.decoder, workshop.lens, workshop.model.tokenizer.labels),
            )
            tables = {"Model": model_table(workshop.decoder), "Neuron": neurons}
            found = [write_shard(job.shards, "model", tables)]
    if fingerprint not in job.store.model_ids():
        with workshop.seconds.of("store"):
            job.store.write(found[0])


def _keys_on_disk(directory: Path, fingerprint: str) -> dict[str, Shard]:
    mine = (s for s in shards(directory) if s.manifest.kind == "prompts" and s.manifest.model == fingerprint)
    return {key: shard for shard in mine for key in shard.manifest.prompts}


def _usable(inputs: Iterable[PromptInput | Broken], model: LoadedModel, job: Job, report: Report) -> Iterator[Prepared]:
    """Prepared prompts; the others go to the report (or stop the ingest, where strict)."""
    from ingest.prompts import Broken

    for source in inputs:
        if isinstance(source, Broken):
            prepared: Prepared | Refused = Refused(source.where, "", source.reason)
        else:
            prepared = prepare(source, model, job.choices)
        if isinstance(prepared, Refused):
            if job.strict:
                raise InputError(f"{prepared.where}: {prepared.reason}.", next_step="Mend it, or leave --strict out.")
            report.refused.append(prepared)
            continue
        if prepared.note:
            report.notes.append(f"{prepared.source.where}: {prepared.note}")
        yield prepared


def _without_known(window: list[Prepared], have: set[str], report: Report) -> list[Prepared]:
    """Prompts that are new to the store, each once."""
    new: dict[str, Prepared] = {}
    for prompt in window:
        if prompt.key in have or prompt.key in new:
            report.already_there += 1
        else:
            new[prompt.key] = prompt
    return list(new.values())


def _load_finished(
    new: list[Prepared], on_disk: dict[str, Shard], writer: StoreWriter, report: Report
) -> list[Prepared]:
    """Load prompts whose shard an earlier run finished; what is left must be computed."""
    finished = [p for p in new if p.key in on_disk]
    for path in sorted({on_disk[p.key].path for p in finished}):
        report.add_shard(Shard(path))
        writer.write_only(Shard(path), frozenset(p.key for p in finished))
    report.computed += len(finished)
    return [p for p in new if p.key not in on_disk]


def _rank_targets(workshop: Workshop, prepared: list[Prepared], later: list[Prepared]) -> None:
    """Rank the tokens that `prepared` will be asked for, and those of prompts to come, in one pass over the neurons."""
    if not prepared:
        return
    with workshop.seconds.of("neuron ranks"):
        workshop.ranks.prepare(asked_tokens(prepared), asked_tokens(later))


def _computed(workshop: Workshop, prepared: list[Prepared], job: Job, report: Report, tell: Progress) -> Shard | None:
    """The shard of the prompts in `prepared`, computed batch by batch; those done so far when asked to stop."""
    if not prepared:
        return None
    with ShardWriter(job.shards, "prompts") as writer:
        for batch in batches(workshop, prepared):
            for tables in _pieces(workshop, prepared, batch, job, report):
                with workshop.seconds.of("shards"):
                    writer.add(tables)
                report.computed += tables["Prompt"].num_rows
            tell(report)
            if job.stop():
                break
        with workshop.seconds.of("shards"):
            shard = writer.finish()
    give_back()
    return shard


def _pieces(
    workshop: Workshop, prepared: list[Prepared], batch: list[int], job: Job, report: Report
) -> Iterator[dict[str, pa.Table]]:
    """Tables of a batch; where it fails, of each of its prompts alone, those that fail going to the report."""
    done = 0
    try:
        for tables in graph_pieces(workshop, [prepared[number] for number in batch], batch):
            yield tables
            done += tables["Prompt"].num_rows
    except ModelError as error:
        if job.strict:
            raise
        if len(batch) == 1:
            source = prepared[batch[0]].source
            report.refused.append(Refused(source.where, source.text, error.problem.rstrip(".")))
            return
        for number in batch[done:]:
            yield from _pieces(workshop, prepared, [number], job, report)


def _refuse_nothing(report: Report) -> None:
    """An ingest in which no prompt was usable has failed."""
    if report.prompts or report.already_there or report.interrupted:
        return
    if report.refused:
        first = report.refused[0]
        raise InputError(
            f"None of the {len(report.refused)} prompts could be ingested.",
            known=f"The first: {first.where}: {first.reason}.",
        )
    raise InputError("There was no prompt to ingest.")
