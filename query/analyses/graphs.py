"""The flow graphs of chosen prompts and layers with remarks on what to see: figures 1, 4, 6b and 11."""

from __future__ import annotations

from typing import Any

import polars as pl

from flowatlas.errors import QueryError, UsageError
from flowatlas.vocabulary import Kind
from query.analyses.records import Figure, Flow
from query.analyses.sample import Sample
from query.graph import Graph
from query.prompts import find_prompt
from query.slice import slice as slice_of

POLICY = "paper"


def block(sample: Sample) -> Figure:
    """Figures 1 and 11: one whole layer, the one in which the target's probability rises most."""
    prompt = _prompt(sample, foil=False)
    rows = sample.states.frame.filter((pl.col("prompt") == prompt) & pl.col("kind").is_in([Kind.EMBEDDING, Kind.RESIDUAL_POST])).sort("layer")
    rise = rows["target_prob"].diff()[1:]
    layer = _layer(sample, int(rise.arg_max() or 0))
    return _figure(sample, prompt, layer, "graph_block", "One layer as a flow graph", "Figures 1, 11", ())


def attention(sample: Sample) -> Figure:
    """Figure 4: the attention of one layer, the one whose attention adds most to the target's logit."""
    prompt = _prompt(sample, foil=False)
    rows = _added(sample, prompt).filter(pl.col("component") == Kind.ATTENTION_OUTPUT).sort("contribution", "layer")
    layer = _layer(sample, int(rows["layer"][-1]))
    return _figure(sample, prompt, layer, "graph_attention", "The attention of one layer as a flow graph", "Figure 4", ("mlp",))


def negative_head(sample: Sample) -> Figure:
    """Figure 6b: the attention of the layer with the head that takes most from target minus foil, in a prompt with a foil."""
    prompt = _prompt(sample, foil=True)
    rows = sample.ask("tops_of_heads").frame.filter(pl.col("prompt") == prompt)
    lost = rows.with_columns(difference=pl.col("contribution") - pl.col("foil_contribution")).sort("difference", "layer", "head")
    layer = _layer(sample, int(lost["layer"][0]))
    return _figure(sample, prompt, layer, "graph_negative_head", "The layer of the most negative head as a flow graph", "Figure 6b", ("mlp",))


def _added(sample: Sample, prompt: int) -> pl.DataFrame:
    """What attention and MLP of every layer add to the target's logit in a prompt."""
    from query.run import run

    rows = run(sample.store, "contributions", prompt=prompt).frame
    return rows.filter(pl.col("component").is_in([Kind.ATTENTION_OUTPUT, Kind.MLP_OUTPUT]))


def _prompt(sample: Sample, *, foil: bool) -> int:
    """The prompt asked for, or the one with the surest right answer. Raises UsageError, QueryError.

    Where a foil is needed, prompts that name it come first: those are the indirect objects.
    """
    rows = sample.prompts.filter(pl.col("foil").is_not_null()) if foil else sample.prompts
    if rows.is_empty():
        raise QueryError("No prompt of the selection has a foil.", next_step="Ingest prompts with foils (--foil-field), such as those of indirect objects.")
    if sample.options.prompt is not None:
        chosen = int(find_prompt(sample.store, sample.options.prompt)["id"])
        if chosen not in sample.prompts["prompt"].to_list():
            raise UsageError(f"Prompt {chosen} is not in the selection {sample.selection}.")
        if chosen in rows["prompt"].to_list():
            return chosen
        raise QueryError(f"Prompt {chosen} has no foil.")
    named = rows.filter(pl.col("text").str.contains(pl.col("foil").str.strip_chars(), literal=True)) if foil else rows
    rows = rows if named.is_empty() else named
    return int(rows.sort("correct", "target_prob", "prompt", descending=[True, True, False])["prompt"][0])


def _layer(sample: Sample, found: int) -> int:
    wanted = sample.options.layer
    if wanted is None:
        return found
    if wanted >= sample.layers:
        raise UsageError(f"There is no layer {wanted}.", known=f"layer goes from 0 to {sample.layers - 1}.")
    return wanted


def _figure(sample: Sample, prompt: int, layer: int, name: str, title: str, paper: str, hide: tuple[str, ...]) -> Figure:
    graph = slice_of(sample.store, prompt, range(layer, layer + 1), policy=POLICY)
    remarks = _remarks(graph, layer)
    text = str(graph.prompt["text"]).strip()
    data = graph.edges.select("type", "from_label", "from", "to_label", "to", "score", "rank", "norm", "contribution")
    return Figure(
        name, title, paper, f"Layer {layer} of \u201c{text}\u201d (target \u201c{str(graph.prompt['target']).strip()}\u201d): {_sentence(graph, layer)}",
        "flowatlas graph " + f"{prompt} --layers {layer} --prune {POLICY}",
        {"prompt": prompt, "layer": layer, "prune": POLICY}, 1, data, [Flow(f"Layer {layer}, prompt {prompt}", graph, remarks, hide)],
        (graph.note,) if graph.note else (),
    )  # fmt: skip


def _whole(graph: Graph) -> Graph:
    return graph.whole or graph


def _node(graph: Graph, kind: str, layer: int) -> dict[str, Any] | None:
    found = _whole(graph).nodes.filter((pl.col("kind") == kind) & (pl.col("layer") == layer)).to_dicts()
    return found[0] if found else None


def _entering(graph: Graph, layer: int) -> dict[str, Any] | None:
    return _node(graph, Kind.EMBEDDING, -1) if layer == 0 else _node(graph, Kind.RESIDUAL_POST, layer - 1)


def _sentence(graph: Graph, layer: int) -> str:
    before, after = _entering(graph, layer), _node(graph, Kind.RESIDUAL_MID, layer) or _node(graph, Kind.RESIDUAL_POST, layer)
    out = _node(graph, Kind.RESIDUAL_POST, layer)
    assert before is not None
    assert after is not None
    assert out is not None
    step = "after attention" if after["kind"] == Kind.RESIDUAL_MID else "after the layer"
    return (
        f"the target's probability goes from {before['target_prob']:.1%} (rank {before['target_rank']}) before the layer to "
        f"{after['target_prob']:.1%} (rank {after['target_rank']}) {step} and {out['target_prob']:.1%} (rank {out['target_rank']}) at its end."
    )


def _remarks(graph: Graph, layer: int) -> list[str]:
    """What the picture shows, in numbers: the norm's first token, the extreme heads with their sources, the attention's output."""
    whole = _whole(graph)
    tokens = {row["position"]: row["text"] for row in whole.tokens}
    remarks = []
    norm, output = _node(graph, Kind.ATTENTION_NORM, layer), _node(graph, Kind.ATTENTION_OUTPUT, layer)
    if norm is not None:
        remarks.append(f"The input of attention after the norm has {_quoted(norm['top_tokens'][:3])} first; the target has rank {norm['target_rank']}.")
    edges = whole.edges.filter(pl.col("type") == "CONCATENATES").select(id="from", effect="contribution")
    heads = whole.nodes.filter((pl.col("kind") == Kind.HEAD) & (pl.col("layer") == layer)).join(edges, on="id").sort("effect", "head")
    sums = whole.edges.filter((pl.col("type") == "SUMS") & (pl.col("rank") == 1)).select(id="from", to="to", score="score")
    values = whole.nodes.filter(pl.col("kind") == Kind.VALUE).join(sums, on="id")
    ordered = heads.to_dicts()
    for row, word in ((ordered[-1], "most"), (ordered[0], "least")) if len(ordered) > 1 else ():
        memory = values.filter(pl.col("to") == row["id"]).to_dicts()
        source = ""
        if memory:
            token = str(tokens.get(memory[0]["source"], "?")).strip()
            source = f"; most of its attention ({memory[0]['score']:.0%}) is on \u201c{token}\u201d, whose value has {_quoted(memory[0]['top_tokens'][:3])} first"
        remarks.append(
            f"Head {row['head']} adds {word} to the target's logit ({row['effect']:+.2f}): it has {_quoted(row['top_tokens'][:3])} first, "
            f"the target at rank {row['target_rank']}{source}."
        )
    if output is not None:
        remarks.append(f"Attention's output has {_quoted(output['top_tokens'][:3])} first and the target at rank {output['target_rank']} ({output['target_prob']:.1%}).")
    return remarks


def _quoted(tokens: list[str]) -> str:
    return ", ".join(f"\u201c{token.strip() or '␣'}\u201d" for token in tokens)
