"""Everything that a store holds of its prompts, in a form that does not depend on the ids it gave them."""

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

from flowatlas.schema import SCHEMAS
from flowatlas.stores.base import Store
from flowatlas.vocabulary import NODE_TABLES, RELATIONSHIP_TABLES, STATE_STRIDE, Label

EMBEDDED = (Label.MODEL, Label.NEURON)


def content(store: Store) -> dict[str, pl.DataFrame]:
    """All tables with prompt ids replaced by prompt keys, sorted."""
    tables = {}
    keys = _frame(store, "MATCH (p:Prompt) RETURN p.id AS number, p.key AS prompt_key")
    for node in NODE_TABLES:
        columns = ", ".join(f"n.`{column.name}` AS `{column.name}`" for column in node.columns)
        frame = _frame(store, f"MATCH (n:{node.label}) RETURN {columns}", node.name)
        if node.label is Label.PROMPT:
            frame = frame.drop("id").sort("key")
        elif node.label not in EMBEDDED:
            frame = _with_key(frame.drop("prompt"), keys, ["id"])
        tables[node.name] = frame if node.label is Label.PROMPT else frame.sort(frame.columns[0], *frame.columns[-1:])
    for rel in RELATIONSHIP_TABLES:
        columns = "".join(f", r.`{column.name}` AS `{column.name}`" for column in rel.columns)
        text = f"MATCH (a:{rel.source})-[r:{rel.type}]->(b:{rel.target}) RETURN a.id AS `from`, b.id AS `to`{columns}"
        ends = [end for end, label in (("from", rel.source), ("to", rel.target)) if label is not Label.NEURON]
        frame = _with_key(_frame(store, text, rel.name), keys, ends, prompt=rel.source is Label.PROMPT)
        tables[rel.name] = frame.sort("prompt_key", "from", "to")
    return tables


def _frame(store: Store, text: str, table: str | None = None) -> pl.DataFrame:
    """Rows of a query, in the types of `table`: a server has one size of numbers, and none of no rows."""
    frame = pl.from_arrow(store.read(text))
    assert isinstance(frame, pl.DataFrame)
    return frame if table is None else frame.cast(dict(pl.from_arrow(SCHEMAS[table].empty_table()).schema))


def _with_key(frame: pl.DataFrame, keys: pl.DataFrame, ends: list[str], *, prompt: bool = False) -> pl.DataFrame:
    """Local numbers instead of ids, with the key of the prompt they belong to."""
    owner = pl.col("from") if prompt else pl.col(ends[0]) // STATE_STRIDE
    local = [(pl.col(end) % STATE_STRIDE).alias(end) for end in ends if not (prompt and end == "from")]
    constant = [pl.lit(0, dtype=pl.Int64).alias("from")] if prompt else []
    joined = frame.with_columns(owner.alias("number")).with_columns(*local, *constant)
    return joined.join(keys, on="number", how="left").drop("number").sort("prompt_key", *ends)


def assert_same(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame], tolerance: float = 1e-5) -> None:
    """Equal tables: ids, ranks and text exactly, numbers to `tolerance`."""
    assert left.keys() == right.keys()
    for name, a in left.items():
        b = right[name]
        assert a.columns == b.columns, name
        assert a.height == b.height, (name, a.height, b.height)
        assert_frame_equal(a, b, check_exact=False, rel_tol=tolerance, abs_tol=tolerance)


def incomplete(store: Store) -> list[dict[str, object]]:
    """States of prompts that do not have all of theirs, or of none."""
    rows: list[dict[str, object]] = store.read(
        "MATCH (s:State|Query|Key|Value|Head) WITH s.prompt AS prompt, count(s) AS states "
        "OPTIONAL MATCH (p:Prompt {id: prompt}) RETURN prompt, states, p.n_state AS wanted"
    ).to_pylist()
    return [row for row in rows if row["states"] != row["wanted"]]
