"""Writes the pages that the program itself knows: schema.md, commands.md and queries.md.

    python docs/generate.py            write them
    python docs/generate.py --check    leave with 1 when one is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import reference

from flowatlas.vocabulary import (
    NODE_TABLES,
    RELATIONSHIP_TABLES,
    SCHEMA_VERSION,
    STATE_LABELS,
    Column,
    Kind,
    Label,
    NodeTable,
    RelationshipTable,
    Type,
)

FOLDER: Final = Path(__file__).parent

LABELS: Final = {
    Label.MODEL: "A model, named by the fingerprint of its weights, config and tokenizer.",
    Label.NEURON: "A row of an output matrix: static, one for all prompts of its model.",
    Label.PROMPT: "A prompt with its model, target, lens and query positions.",
    Label.TOKEN: "An input token.",
    Label.QUERY: "A head's query at a query position.",
    Label.KEY: "A memory key: one a query head and remembered position.",
    Label.VALUE: "A memory value: one a query head and remembered position.",
    Label.HEAD: "A head's output: the attention-weighted sum of its values.",
    Label.STATE: "Every other vector of the forward pass; `kind` says which.",
}

KINDS: Final = {
    Kind.TOKEN_EMBEDDING: "row of the token embedding",
    Kind.POSITION_EMBEDDING: "row of the position embedding, in models that have one",
    Kind.EMBEDDING: "the first residual: the embeddings' sum, after the embedding's norm where there is one",
    Kind.ATTENTION_NORM: "the residual after the norm before attention (ln1)",
    Kind.QKV: "the whole input of the heads, drawn as one step",
    Kind.QUERY: "a head's query (label Query)",
    Kind.KEY: "a memory key (label Key)",
    Kind.VALUE: "a memory value (label Value)",
    Kind.HEAD: "a head's output (label Head)",
    Kind.CONCATENATED_HEADS: "the heads' outputs side by side, before W_O",
    Kind.ATTENTION_OUTPUT: "what attention adds to the residual",
    Kind.ATTENTION_BIAS: "the bias of W_O",
    Kind.ATTENTION_POST_NORM: "attention_output after a norm of its own, in models that have one",
    Kind.RESIDUAL_MID: "the residual after attention (not in parallel blocks)",
    Kind.MLP_NORM: "the residual after the norm before the MLP (ln2)",
    Kind.MLP_OUTPUT: "what the MLP adds to the residual",
    Kind.MLP_BIAS: "the bias of the MLP's second matrix",
    Kind.MLP_POST_NORM: "mlp_output after a norm of its own, in models that have one",
    Kind.RESIDUAL_POST: "the residual after the layer",
    Kind.FINAL_NORM: "the last residual after the final norm, projected without a second one: what the model says",
}

TYPES: Final = {
    Type.HAS_TOKEN: "A prompt's tokens.",
    Type.EMBEDS: "A token to its embedding.",
    Type.CREATES: "What a memory comes from: the input token, and with all positions the normalized residual there.",
    Type.NORMALIZES: "A norm's step.",
    Type.PROJECTS: "A whole matrix step, whose parts are the neurons. Paths run here, never through the shared neurons.",
    Type.SPLITS: "The heads' input to each head's query.",
    Type.ATTENDS: "A query to the keys that it meets.",
    Type.RECALLS: "A key to its value.",
    Type.SUMS: "A value's part in its head's output.",
    Type.CONCATENATES: "A head's part in attention's output.",
    Type.ACTIVATES: "A neuron's coefficient before the nonlinearity.",
    Type.WRITES: "A neuron's part in its branch's output, by its coefficient after the nonlinearity.",
    Type.ADDS: "What is added to a residual (or to a branch's output: its bias).",
    Type.SKIPS: "The residual going on, past the branch.",
}

HEAD: Final = f"""# Schema

Written by `python docs/generate.py` from `flowatlas/vocabulary.py`; a test keeps the two equal. Version {SCHEMA_VERSION}.

The graph is that of the paper (VISIT, arXiv 2305.13417, appendix A), unpruned: every vector of a forward pass is a
node, projected to the vocabulary with the model's own final norm and unembedding. A head of one prompt reads

    (q:Query)-[:ATTENDS]->(k:Key)-[:RECALLS]->(v:Value)-[:SUMS]->(h:Head)-[:CONCATENATES]->(s:State)

and all vectors are `(s:{"|".join(STATE_LABELS)})`. Every relationship between vectors has a `score`: a coefficient where
vectors are multiplied, a norm where they are summed. Where the flow reaches the last residual in a straight line it
has a `contribution`, its direct effect on the target's logit with the scale of the final norm held still.

*Adding contributions up.* `ADDS` of `attention_output` and `mlp_output` carry the sum of what is below them, so add one
level: `ADDS` of embeddings and biases + `CONCATENATES` + `WRITES` of the MLP + `Prompt.target_constant` =
`Prompt.target_logit`.
"""


def schema_page() -> str:
    """Every node, relationship and property."""
    parts = [HEAD, "## Nodes\n"]
    parts += [_node(table) for table in NODE_TABLES]
    parts += ["### Kinds of vectors\n", _table(("kind", "what it is"), ((f"`{kind}`", KINDS[kind]) for kind in Kind))]
    parts += ["## Relationships\n"]
    parts += [_relationships(type_) for type_ in Type]
    return "\n".join(parts)


def _node(table: NodeTable) -> str:
    return f"### {table.label}\n\n{LABELS[table.label]}\n\n{_columns(table.columns)}"


def _relationships(type_: Type) -> str:
    tables = [table for table in RELATIONSHIP_TABLES if table.type is type_]
    ends = ", ".join(f"`{table.source}` to `{table.target}`" for table in tables)
    text = f"### {type_}\n\n{TYPES[type_]}\n{ends}.\n"
    widest: RelationshipTable = max(tables, key=lambda table: len(table.columns))
    return f"{text}\n{_columns(widest.columns)}" if widest.columns else text


def _columns(columns: Iterable[Column]) -> str:
    rows = ((f"`{c.name}`", f"`{c.type}`" + (", may be null" if c.nullable else ""), c.doc) for c in columns)
    return _table(("property", "type", "meaning"), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def pages() -> dict[str, str]:
    """The pages by their file names."""
    return {
        "schema.md": schema_page(),
        "commands.md": reference.commands_page(),
        "queries.md": reference.queries_page(),
    }


def main() -> int:
    """Write the pages, or check them."""
    if "--check" not in sys.argv:
        for name, text in pages().items():
            (FOLDER / name).write_text(text, "utf-8")
        return 0
    stale = [name for name, text in pages().items() if not _holds(FOLDER / name, text)]
    for name in stale:
        print(f"docs/{name} is not what the program says. Run: python docs/generate.py", file=sys.stderr)
    return 1 if stale else 0


def _holds(page: Path, text: str) -> bool:
    return page.exists() and page.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
