"""`flowatlas analyze`: the paper's figures over any prompts of a store, as one report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowatlas.cli.console import human_seconds, people
from flowatlas.cli.options import FormatOption, ParameterOption, StoreOption, opened, parameters
from flowatlas.cli.tables import chosen_format, write
from flowatlas.errors import FlowatlasError, InputError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from dashboard.report.page import About
    from flowatlas.selection import Selection
    from flowatlas.stores.base import Store
    from query.analyses.records import Figure, Missing
    from query.analyses.sample import Options, Sample


def register(app: typer.Typer) -> None:
    """Add `analyze`."""
    app.command("analyze")(analyze)


def analyze(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Figures; none: all of them (--list names them).", show_default=False),
    ] = None,
    param: ParameterOption = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SELECTION",
            help="A second selection to set beside the first, such as dataset=facts,correct=true or model=gpt2.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The prompts' model (demo, a name or a folder), for what needs its weights.", show_default=False),
    ] = None,
    norms: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What `flowatlas norms` wrote, for the figures of the norms.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the report: it must not exist yet.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many top tokens I_k compares.")] = 50,
    prompt: Annotated[
        str | None, typer.Option(metavar="PROMPT", help="Prompt of the graphs: its id or text; default: chosen by its answer.", show_default=False)
    ] = None,
    layer: Annotated[
        int | None, typer.Option(min=0, help="Layer of the graphs and of the norm figures; default: chosen by what it shows.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap and of the shuffled prompts.")] = 0,
    resamples: Annotated[int, typer.Option(min=1, help="Draws of the bootstrap.")] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Replace a report that is there.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the figures and leave.")] = False,
    store: StoreOption = None,
    format_: FormatOption = None,
) -> None:
    """Write a report of the paper's figures: one interactive page, and every figure as SVG, PNG, Parquet and CSV.

    flowatlas analyze -p correct=true --out report
    """
    from query.analyses.catalogue import chosen

    if list_:
        _list(format_)
        return
    chosen(names or ())
    if out is None:
        raise UsageError("Where to?", next_step="Give --out DIR.")
    from dashboard.report.folder import checked_folder, write_report
    from query.analyses.records import Missing
    from query.analyses.sample import Options

    checked_folder(out, force=force)
    options = Options(k=k, seed=seed, resamples=resamples, prompt=prompt, layer=layer, norms=_norms(norms))
    start = time.perf_counter()
    with opened(store) as there:
        samples = _samples(there, parameters(param), against, options)
        if model is not None:
            samples[0] = _with_model(samples[0], model)
        figures = _figures(samples, names or [])
        missing = [figure for figure in figures if isinstance(figure, Missing)]
        if len(missing) == len(figures):
            raise FlowatlasError("There is nothing to show.", known="\n".join(f"{m.name}: {m.reason}" for m in missing))
        files = write_report(out, _about(samples), figures, force=force)
    for absent in missing:
        people.print(f"Not shown: {absent.title} ({absent.paper}). {' '.join(absent.reason.split())}", style="dim", markup=False)
    seconds = human_seconds(time.perf_counter() - start)
    prompts = " and ".join(str(sample.size) for sample in samples)
    people.print(
        f"{len(figures) - len(missing)} figures from {prompts} prompts in {seconds}, {len(files)} files: {out / 'index.html'}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _norms(file: Path | None) -> pl.DataFrame | None:
    """The rows of a file that `flowatlas norms` wrote. Raises InputError."""
    if file is None:
        return None
    import polars as pl

    needed = {"layer", "norm", "lens", "source", "token_id", "token", "before", "after", "n"}
    try:
        rows = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{file} cannot be read: {error}.", next_step="Make it with `flowatlas norms --out FILE.parquet`.") from error
    if not needed <= set(rows.columns):
        raise InputError(f"{file} was not written by `flowatlas norms`.", known=f"It lacks {', '.join(sorted(needed - set(rows.columns)))}.")
    return rows


def _with_model(sample: Sample, model: str) -> Sample:
    """The sample with a reader of its model. Raises ModelError."""
    from dataclasses import replace

    from ingest.analysis import ModelReader

    return replace(sample, options=replace(sample.options, weights=ModelReader(model, str(sample.model["id"]))))


def _list(format_: FormatOption) -> None:
    import pyarrow as pa

    from query.analyses.catalogue import ANALYSES

    rows = [{"figure": a.name, "paper": a.paper, "shows": a.title} for a in ANALYSES.values()]
    write(pa.Table.from_pylist(rows), chosen_format(format_, None), None)


def _samples(store: Store, given: dict[str, str], against: str | None, options: Options) -> list[Sample]:
    from flowatlas.selection import Selection
    from query.analyses.sample import Sample

    selections = [Selection.of(given), *([Selection.parse(against)] if against is not None else [])]
    return [Sample(store, _with_model_id(store, selection), options) for selection in selections]


def _with_model_id(store: Store, selection: Selection) -> Selection:
    """A model may be given by its name: the selection with its id."""
    from dataclasses import replace

    from query.prompts import models

    if selection.model is None:
        return selection
    rows = models(store)
    named = rows.filter((rows["name"] == selection.model) | (rows["id"] == selection.model))["id"].to_list()
    if len(named) > 1:
        raise UsageError(f"Several models are called '{selection.model}'.", known=f"Their ids: {', '.join(named)}.", next_step="Give the id.")
    return replace(selection, model=named[0]) if named else selection


def _figures(samples: list[Sample], names: list[str]) -> list[Figure | Missing]:
    from query.analyses.beside import beside
    from query.analyses.catalogue import analyze as figures_of

    found = [list(figures_of(sample, names)) for sample in samples]
    if len(found) == 1:
        return found[0]
    sides = [f"A: {samples[0].selection}", f"B: {samples[1].selection}"]
    return [beside(a, b, sides) for a, b in zip(*found, strict=True)]


def _about(samples: list[Sample]) -> About:
    from dashboard.report.page import About

    facts: dict[str, str] = {}
    for side, sample in zip(("",) if len(samples) == 1 else ("A: ", "B: "), samples, strict=True):
        model, right = sample.model, int(sample.correct.sum())
        shape = f"{sample.layers} layers, {model['n_head']} heads, width {model['d_model']}"
        facts[f"{side}model"] = f"{model['name']} ({model['family']}, {shape})"
        facts[f"{side}prompts"] = f"{sample.size} ({sample.selection}), {right} answered right, {sample.size - right} wrong"
    options = samples[0].options
    facts["bands"] = f"95 %, bootstrap over prompts, {options.resamples} draws, seed {options.seed}"
    facts["controls"] = "dotted lines compare with the vector of another prompt, drawn at random"
    return About(f"flowatlas report: {samples[0].model['name']}", facts)
