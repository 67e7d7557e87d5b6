"""Pruning: which parallel inputs of a node are shown, and what was pruned away.

Three parts of a graph hold alternatives: the *neurons* that write to one output, the *memories* (key
and value of a source token) that one head sums, and the *heads* of one layer. The inputs of one such
node are a component. A policy chooses among the inputs of each component; everything else (residuals,
norms, outputs) stays, and nodes without any remaining edge are removed (appendix A.5).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

import polars as pl

from flowatlas.errors import UsageError, did_you_mean
from flowatlas.vocabulary import Label, Type
from query.graph import Graph

Measure = Literal["score", "norm", "contribution", "foil_contribution"]
Part = Literal["neurons", "memories", "heads"]

MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)
_PART_OF: Final[dict[Type, Part]] = {Type.WRITES: "neurons", Type.SUMS: "memories", Type.CONCATENATES: "heads"}
PARTS: Final[tuple[Part, ...]] = get_args(Part)


@dataclass(frozen=True)
class Paper:
    """Appendix A.5: the strongest positive and negative neurons of each matrix by coefficient, the
    best memories of each head by attention, and all heads."""

    positive: int = 18
    negative: int = 7
    values: int = 2

    def keep(self) -> pl.Expr:
        """Which inputs stay."""
        score = pl.col("score")
        strength = score.abs().rank("ordinal", descending=True)
        of_sign = strength.over("to", score >= 0)
        neuron = pl.when(score >= 0).then(of_sign <= self.positive).otherwise(of_sign <= self.negative)
        memory = strength.over("to") <= self.values
        return _by_part(neuron, memory, pl.lit(True))


@dataclass(frozen=True)
class Top:
    """The largest inputs of each component by one measure; None keeps all of that part."""

    neurons: int | None = 10
    values: int | None = 2
    heads: int | None = None
    by: Measure = "score"

    def keep(self) -> pl.Expr:
        """Which inputs stay."""
        strength = pl.col(self.by).abs().rank("ordinal", descending=True).over("to")
        limits = [pl.lit(True) if k is None else (strength <= k) for k in (self.neurons, self.values, self.heads)]
        return _by_part(*limits) | pl.col(self.by).is_null()


@dataclass(frozen=True)
class Threshold:
    """Inputs whose absolute measure is at least `minimum`."""

    minimum: float = 0.5
    by: Measure = "contribution"

    def keep(self) -> pl.Expr:
        """Which inputs stay."""
        return (pl.col(self.by).abs() >= self.minimum) | pl.col(self.by).is_null()


@dataclass(frozen=True)
class Mass:
    """The smallest part of each component that keeps `share` of its absolute measure."""

    share: float = 0.9
    by: Measure = "contribution"

    def keep(self) -> pl.Expr:
        """Which inputs stay. The inputs are sorted, largest first; `<measure>_total` is the whole component's."""
        if self.share >= 1:
            return pl.lit(True)
        size = pl.col(self.by).cast(pl.Float64).abs()
        before = size.cum_sum().over("to") - size
        return (before < self.share * pl.col(f"{self.by}_total")) | pl.col(self.by).is_null()


Policy = Paper | Top | Threshold | Mass
POLICIES: Final[dict[str, type[Policy]]] = {"paper": Paper, "top": Top, "threshold": Threshold, "mass": Mass}


def _by_part(neurons: pl.Expr, memories: pl.Expr, heads: pl.Expr) -> pl.Expr:
    part = pl.col("part")
    return pl.when(part == "neurons").then(neurons).when(part == "memories").then(memories).otherwise(heads)


@dataclass(frozen=True)
class Pruning:
    """What a policy took away from a slice.

    `components` has a row for every component: part, layer, matrix, head, inputs, pruned, and the
    pruned share of the absolute score and of the absolute contribution (0 to 1). `parts` sums them.
    """

    policy: Policy
    nodes: int
    nodes_pruned: int
    edges: int
    edges_pruned: int
    components: pl.DataFrame
    parts: pl.DataFrame

    def __str__(self) -> str:
        shares = "; ".join(
            f"{row['part']}: {row['pruned']} of {row['inputs']} pruned, {row['score_pruned']:.0%} of their score"
            + ("" if row["contribution_pruned"] is None else f" and {row['contribution_pruned']:.0%} of their contribution")
            for row in self.parts.to_dicts()
        )
        return (
            f"{describe(self.policy)} pruned {self.nodes_pruned} of {self.nodes} nodes and "
            f"{self.edges_pruned} of {self.edges} relationships ({shares})"
        )


def describe(policy: Policy) -> str:
    """A policy as the text that `parse_policy` reads."""
    name = next(name for name, kind in POLICIES.items() if isinstance(policy, kind))
    numbers = [getattr(policy, f.name) for f in fields(policy) if f.name != "by"]
    text = ",".join("all" if n is None else f"{n:g}" for n in numbers)
    return f"{name}:{text}" + (f"@{policy.by}" if not isinstance(policy, Paper) else "")


def parse_policy(text: str) -> Policy:
    """`paper`, `paper:18,7,2`, `top:10,2,all@contribution`, `threshold:0.1@score`, `mass:0.9`.

    The numbers are the policy's in their order, `@` names the measure. Raises UsageError.
    """
    name, _, rest = text.strip().partition(":")
    numbers, at, measure = rest.partition("@")
    if not rest:
        name, at, measure = name.partition("@")
    if name not in POLICIES:
        raise UsageError(f"There is no pruning '{name}'.", known=did_you_mean(name, POLICIES))
    kind = POLICIES[name]
    names = [f.name for f in fields(kind) if f.name != "by"]
    given = [part.strip() for part in numbers.split(",")] if numbers else []
    if len(given) > len(names):
        raise UsageError(f"The pruning '{name}' takes at most {len(names)} numbers: {', '.join(names)}.")
    values: dict[str, Any] = {n: _number(kind, n, part) for n, part in zip(names, given, strict=False)}
    if at:
        if kind is Paper:
            raise UsageError("The pruning 'paper' has no measure: it goes by coefficients and attention.")
        values["by"] = measure
    return checked(kind(**values))


def _number(kind: type[Policy], name: str, text: str) -> float | int | None:
    whole = kind in (Paper, Top)
    if kind is Top and text == "all":
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError as error:
        raise UsageError(f"{name} must be a {'whole ' if whole else ''}number, not '{text}'.") from error


def checked(policy: Policy) -> Policy:
    """The policy, if its numbers make sense. Raises UsageError."""
    if not isinstance(policy, Paper) and policy.by not in MEASURES:
        raise UsageError(f"Relationships have no measure '{policy.by}'.", known=did_you_mean(policy.by, MEASURES))
    if isinstance(policy, Mass):
        if not 0 < policy.share <= 1:
            raise UsageError(f"The share to keep must be above 0 and at most 1, not {policy.share:g}.")
    elif isinstance(policy, Threshold):
        if not policy.minimum >= 0:
            raise UsageError(f"The threshold must be 0 or more, not {policy.minimum:g}.")
    else:
        for f in fields(policy):
            value = getattr(policy, f.name)
            if isinstance(value, int) and value < (0 if f.name == "negative" else 1):
                raise UsageError(f"{f.name} must be at least {0 if f.name == 'negative' else 1}, not {value}.")
    return policy


def prune(graph: Graph, policy: Policy | str) -> Graph:
    """The graph less what `policy` prunes, with its report. Raises UsageError."""
    chosen = parse_policy(policy) if isinstance(policy, str) else checked(policy)
    whole = graph.whole or graph
    inputs = _inputs(graph).sort("to", pl.col(_order(chosen)).abs(), "from", descending=[False, True, False], nulls_last=True)
    totals = _inputs(whole).group_by("to").agg([_absolute(name).sum().alias(f"{name}_total") for name in MEASURES])
    inputs = inputs.join(totals, on="to", how="left", maintain_order="left")
    dropped = inputs.filter(~chosen.keep())
    edges = _without(graph, dropped)
    ends = pl.concat([edges.select(label="from_label", id="from"), edges.select(label="to_label", id="to")]).unique()
    nodes = graph.nodes.join(ends, on=["label", "id"], how="semi", maintain_order="left")
    result = graph.with_rows(nodes, edges, whole=whole)
    return result.with_rows(nodes, edges, pruned=_report(result, chosen))


def report_again(graph: Graph) -> Graph:
    """A part of a pruned graph with the report of that part."""
    if graph.pruned is None:
        raise ValueError("the graph was not pruned")
    return graph.with_rows(graph.nodes, graph.edges, pruned=_report(graph, graph.pruned.policy))


def _order(policy: Policy) -> str:
    return "score" if isinstance(policy, Paper) else policy.by


def _absolute(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64).abs()


def _inputs(graph: Graph) -> pl.DataFrame:
    """The inputs of all components: part, from, to, and the four measures."""
    part = pl.col("type").replace_strict({str(t): p for t, p in _PART_OF.items()}, default=None, return_dtype=pl.String)
    rows = graph.edges_of(*_PART_OF).with_columns(part=part)
    # A head's score is a norm already (A.4: what is summed is scored by its norm).
    norm = pl.when(pl.col("part") == "heads").then(pl.col("score")).otherwise(pl.col("norm"))
    return rows.with_columns(norm=norm).select("part", "from", "to", *MEASURES)


def _without(graph: Graph, dropped: pl.DataFrame) -> pl.DataFrame:
    """Edges that are left when neurons, memories or heads go, with all that hangs on them."""
    states = graph.nodes.filter(pl.col("label").is_in([str(x) for x in (Label.QUERY, Label.KEY, Label.VALUE, Label.HEAD)]))
    states = states.select("label", "id", "layer", "head", "source")
    gone = dropped.select("part", id="from").join(states, on="id", how="left")
    heads = gone.filter(pl.col("part") == "heads").select("layer", "head").unique()
    memories = gone.filter(pl.col("part") == "memories").select("layer", "head", "source").unique()
    removed = pl.concat(
        [
            dropped.filter(pl.col("part") == "neurons").select(label=pl.lit(str(Label.NEURON)), id="from"),
            states.join(heads, on=["layer", "head"], how="semi").select("label", "id"),
            states.join(memories, on=["layer", "head", "source"], how="semi").select("label", "id"),
        ]
    ).unique()
    edges = graph.edges
    for end in ("from", "to"):
        edges = edges.join(
            removed, left_on=[f"{end}_label", end], right_on=["label", "id"], how="anti", maintain_order="left"
        )
    return edges


def _report(graph: Graph, policy: Policy) -> Pruning:
    whole = graph.whole or graph
    kept = _inputs(graph).select("from", "to").with_columns(kept=pl.lit(True))
    inputs = _inputs(whole).join(kept, on=["from", "to"], how="left").with_columns(pl.col("kept").fill_null(False))
    measures = ("score", "contribution")
    sums = [_absolute(m).sum().alias(m) for m in measures]
    sums += [_absolute(m).filter(~pl.col("kept")).sum().alias(f"{m}_gone") for m in measures]
    counts = [pl.len().alias("inputs"), (~pl.col("kept")).sum().alias("pruned")]
    by_component = inputs.group_by("part", "to").agg(*counts, *sums)
    columns = ["inputs", "pruned", *(f"{m}_pruned" for m in measures)]
    components = _with_names(by_component, whole)
    order = pl.col("part").replace_strict({p: i for i, p in enumerate(PARTS)}, return_dtype=pl.Int32)
    parts = by_component.group_by("part").agg(pl.col("inputs", "pruned", *measures, *(f"{m}_gone" for m in measures)).sum())
    return Pruning(
        policy=policy, nodes=len(whole.nodes), nodes_pruned=len(whole.nodes) - len(graph.nodes), edges=len(whole.edges),
        edges_pruned=len(whole.edges) - len(graph.edges),
        components=_shares(components, measures).select("part", "layer", "matrix", "head", "id", *columns)
        .sort(order, "layer", "matrix", "head", "id"),
        parts=_shares(parts, measures).sort(order).select("part", *columns),
    )  # fmt: skip


def _with_names(components: pl.DataFrame, graph: Graph) -> pl.DataFrame:
    states = graph.nodes.filter(pl.col("kind").is_not_null()).select(to="id", layer="layer", head="head", kind="kind")
    matrix = (
        pl.when(pl.col("part") != "neurons").then(None)
        .when(pl.col("kind") == "attention_output").then(pl.lit("attention_output"))
        .otherwise(pl.lit("mlp"))
    )  # fmt: skip
    return components.join(states, on="to", how="left").with_columns(matrix=matrix, id="to")


def _shares(rows: pl.DataFrame, measures: tuple[str, ...]) -> pl.DataFrame:
    share = [pl.when(pl.col(m) > 0).then(pl.col(f"{m}_gone") / pl.col(m)).alias(f"{m}_pruned") for m in measures]
    return rows.with_columns(share)
