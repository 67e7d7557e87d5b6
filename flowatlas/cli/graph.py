"""`flowatlas graph`, `compare` and `paths`: flow graphs of single prompts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flowatlas.cli.console import people
from flowatlas.cli.options import FormatOption, OutOption, StoreOption, opened
from flowatlas.cli.tables import chosen_format, write, write_file
from flowatlas.errors import FlowatlasError, UsageError, did_you_mean

if TYPE_CHECKING:
    from flowatlas.stores.base import Store
    from query.graph import Graph

KINDS: Final = ("html", "svg", "json", "graphml")
PromptArgument = Annotated[str, typer.Argument(metavar="PROMPT", help="Id of the prompt, or its text.")]
LayersOption = Annotated[
    str | None,
    typer.Option(
        "--layers", "-l", metavar="A:B", help="9:11 for layers 9 and 10, 9 for one; default: all.", show_default=False
    ),
]
PruneOption = Annotated[
    str,
    typer.Option(
        "--prune", metavar="POLICY",
        help="paper[:18,7,2], top:10[,2,all][@contribution], threshold:0.1, mass:0.9, or none.",
    ),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add `graph`, `compare` and `paths`."""
    app.command("graph")(graph)
    app.command("compare")(compare)
    app.command("paths")(paths)


def graph(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="Id of the prompt, or its text.", show_default=False)
    ] = None,
    layers: LayersOption = None,
    prune: PruneOption = "paper",
    position: Annotated[
        int | None, typer.Option(min=0, help="Query position; default: the last token.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help=".html, .svg, .json or .graphml; default: JSON on stdout.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Print what pruning took away, component by component.")
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(
            "--verify", metavar="FILE", help="Say whether the store still gives this exported file.", show_default=False
        ),
    ] = None,
    store: StoreOption = None,
    format_: FormatOption = None,
) -> None:
    """Write the flow graph of a prompt to a file, or verify such a file.

    flowatlas graph 12 --layers 9:11 --out graph.html
    """
    if verify is not None:
        if prompt is not None or out is not None:
            raise UsageError("--verify takes a file and nothing else.")
        _verify(verify, store)
        return
    if prompt is None:
        raise UsageError(
            "Which prompt?", known="Give its id or its text.", next_step="`flowatlas query prompts` lists them."
        )
    kind = _kind(out)
    with opened(store) as there:
        found = sliced(there, prompt, layers, prune, position)
    if report:
        if found.pruned is None:
            raise UsageError("Nothing was pruned, so there is nothing to report.")
        write(found.pruned.components.to_arrow(), chosen_format(format_, None), None)
    text = rendered(found, kind)
    if out is not None:
        write_file(out, text.encode("utf-8"))
        people.print(f"{len(found.nodes)} nodes and {len(found.edges)} relationships in {out}")
    elif not report:
        sys.stdout.write(text)
    for note in (found.note, None if found.pruned is None else f"{found.pruned}."):
        if note:
            people.print(note, style="dim")


def sliced(store: Store, prompt: str, layers: str | None, prune: str, position: int | None = None) -> Graph:
    """The slice that options ask for. Raises UsageError."""
    from query.layers import parse_layers
    from query.prompts import find_prompt, model_of
    from query.pruning import parse_policy
    from query.slice import slice as slice_of

    policy = None if prune == "none" else parse_policy(prune)
    row = find_prompt(store, prompt)
    chosen = None if layers is None else parse_layers(layers, int(model_of(store, row)["n_layer"]))
    return slice_of(store, int(row["id"]), chosen, position=position, policy=policy)


def _kind(out: Path | None) -> str:
    if out is None:
        return "json"
    kind = out.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise UsageError(
            f"Graphs cannot be written as '{out.suffix or out.name}'.",
            known=f"Known: {', '.join(f'.{k}' for k in KINDS)}. {did_you_mean(kind, KINDS) if kind else ''}".strip(),
        )
    return kind


def rendered(found: Graph, kind: str) -> str:
    """The graph as text of a kind, with its provenance inside."""
    from query.export import to_graphml, to_json
    from query.provenance import in_html, in_svg, provenance

    if kind == "json":
        return to_json(found)
    if kind == "graphml":
        return to_graphml(found)
    from dashboard.standalone import to_html, to_svg

    source = provenance(found)
    return in_html(to_html(found), source) if kind == "html" else in_svg(to_svg(found), source)


def _verify(file: Path, store: str | None) -> None:
    from query.provenance import verify as verified

    with opened(store) as there:
        result = verified(there, file)
    if result.problems:
        raise FlowatlasError(
            f"{file} is not what the store gives.",
            known=" ".join(result.problems),
            next_step="Make it again with `flowatlas graph`.",
        )
    typer.echo(f"{file}: verified ({result.source['content_hash']}).")


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The first prompt: its id or text.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The second prompt.")],
    layers: LayersOption = None,
    by: Annotated[
        str, typer.Option(help="What to compare: contribution, score, norm or foil_contribution.")
    ] = "contribution",
    prune: PruneOption = "none",
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Compare vectors (rank of the target, top token) instead of relationships.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows.")] = 30,
    store: StoreOption = None,
    format_: FormatOption = None,
    out: OutOption = None,
) -> None:
    """What differs between the flow graphs of two prompts, largest change first.

    flowatlas compare 4 5 --layers 2:4
    """
    from query.compare import compare as compared
    from query.compare import overlap

    chosen = chosen_format(format_, out)
    with opened(store) as there:
        one, other = (sliced(there, text, layers, prune) for text in (a, b))
    found = compared(one, other, by)  # type: ignore[arg-type]  # checked there
    rows = found.nodes if nodes else found.edges
    write(rows.head(limit).to_arrow(), chosen, out)
    shared = overlap(one, other)
    notes = [
        *found.notes,
        f"{len(rows)} {'vectors' if nodes else 'relationships'} differ; {shared.shared_nodes} of {shared.all_nodes} nodes are in both.",
    ]
    if found.empty:
        notes = ["Nothing differs."]
    for note in notes:
        people.print(note, style="dim")


def paths(
    prompt: PromptArgument,
    source: Annotated[int, typer.Argument(metavar="POSITION", help="Position of the input token, from 0.", min=0)],
    by: Annotated[str, typer.Option(help="How strong a step is: share, score or contribution.")] = "share",
    count: Annotated[int, typer.Option(min=1, help="How many paths.")] = 5,
    layers: LayersOption = None,
    store: StoreOption = None,
    format_: FormatOption = None,
    out: OutOption = None,
) -> None:
    """The strongest ways from an input token to the prediction: each as strong as its weakest step.

    flowatlas paths 12 4 --count 3
    """
    import pyarrow as pa

    from query.paths import paths as strongest

    chosen = chosen_format(format_, out)
    with opened(store) as there:
        found = strongest(sliced(there, prompt, layers, "none"), source, by=by, count=count)  # type: ignore[arg-type]
    rows = [
        {"path": number, "weakest": path.strength, "step": step, "type": path.types[step], "from": path.nodes[step],
         "to": path.nodes[step + 1], "strength": path.strengths[step]}
        for number, path in enumerate(found, 1)
        for step in range(path.steps)
    ]  # fmt: skip
    write(pa.Table.from_pylist(rows), chosen, out)
