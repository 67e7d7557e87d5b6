"""The words of the project: node labels, state kinds, relationship types and their properties.

Everything that has a name in Python, Parquet, Cypher or on the page gets it from here. The tables
are plain data: `flowatlas.schema` turns them into Arrow schemas, each store into its own DDL.

The graph is that of the paper (VISIT, arXiv 2305.13417), appendix A, unpruned. Vectors are
projected to the vocabulary by the logit lens LL(x) = softmax(norm_f(x) U + b) (section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

SCHEMA_VERSION: Final = 2

STATE_STRIDE: Final = 1 << 24
"""A state's id is `prompt id * STATE_STRIDE + local index`; with prompt ids below 2**29 every id is
an integer that JavaScript can hold."""

NEURON_STRIDE: Final = 1 << 28
"""A neuron's id is `model hash * NEURON_STRIDE + index in the model`, the hash having 24 bits."""

TOP_TOKENS: Final = 10
"""How many top tokens are stored with their text and probability."""

TOP_IDS: Final = 50
"""How many top token ids are stored (the k of I_k, section 3)."""


class Label(StrEnum):
    """Node labels."""

    MODEL = "Model"
    NEURON = "Neuron"
    PROMPT = "Prompt"
    TOKEN = "Token"
    QUERY = "Query"
    KEY = "Key"
    VALUE = "Value"
    HEAD = "Head"
    STATE = "State"


STATE_LABELS: Final = (Label.QUERY, Label.KEY, Label.VALUE, Label.HEAD, Label.STATE)
"""The five labels of vectors of a forward pass; ids are unique over all of them together."""


class Kind(StrEnum):
    """What a vector of the forward pass is (`kind` of the five state labels)."""

    TOKEN_EMBEDDING = "token_embedding"
    POSITION_EMBEDDING = "position_embedding"
    EMBEDDING = "embedding"
    ATTENTION_NORM = "attention_norm"
    QKV = "qkv"
    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    HEAD = "head"
    CONCATENATED_HEADS = "concatenated_heads"
    ATTENTION_OUTPUT = "attention_output"
    ATTENTION_BIAS = "attention_bias"
    ATTENTION_POST_NORM = "attention_post_norm"
    RESIDUAL_MID = "residual_mid"
    MLP_NORM = "mlp_norm"
    MLP_OUTPUT = "mlp_output"
    MLP_BIAS = "mlp_bias"
    MLP_POST_NORM = "mlp_post_norm"
    RESIDUAL_POST = "residual_post"
    FINAL_NORM = "final_norm"


class Lens(StrEnum):
    """Ways of projecting vectors; an ingest is asked for some (`lens` of Prompt), `circuit` is always there.

    `circuit` reads every vector as it acts on the residual (W_O for values and heads, the QK circuit
    for queries and keys); `naive` reads a head's vector without any circuit, in its head's slice of a
    vector of zeros (section 3.1, note 6); `no_final_norm` leaves the model's final norm out of the lens
    (appendix E): logits = x U + b.
    """

    CIRCUIT = "circuit"
    NAIVE = "naive"
    NO_FINAL_NORM = "no_final_norm"


LENS_COLUMN: Final = {Lens.NAIVE: "naive_top_ids", Lens.NO_FINAL_NORM: "no_final_norm_top_ids"}
"""Where the top ids of a lens other than `circuit` are; null in prompts that were ingested without it."""


class Matrix(StrEnum):
    """Output matrices whose rows are neurons."""

    MLP = "mlp"
    ATTENTION_OUTPUT = "attention_output"


class Type(StrEnum):
    """Relationship types."""

    HAS_TOKEN = "HAS_TOKEN"
    EMBEDS = "EMBEDS"
    CREATES = "CREATES"
    NORMALIZES = "NORMALIZES"
    PROJECTS = "PROJECTS"
    SPLITS = "SPLITS"
    ATTENDS = "ATTENDS"
    RECALLS = "RECALLS"
    SUMS = "SUMS"
    CONCATENATES = "CONCATENATES"
    ACTIVATES = "ACTIVATES"
    WRITES = "WRITES"
    ADDS = "ADDS"
    SKIPS = "SKIPS"


ColumnType = Literal["bool", "int32", "int64", "float32", "string", "list<string>", "list<float32>", "list<int32>"]


@dataclass(frozen=True)
class Column:
    """A property: its name, type, and what it means (the text the docs print)."""

    name: str
    type: ColumnType
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class NodeTable:
    """All nodes of one label. The first column is the primary key."""

    label: Label
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """The table's name in shards and stores."""
        return str(self.label)


@dataclass(frozen=True)
class RelationshipTable:
    """All relationships of one type between one pair of labels."""

    type: Type
    source: Label
    target: Label
    columns: tuple[Column, ...] = ()

    @property
    def name(self) -> str:
        """The table's name in shards, such as `SUMS_Value_Head`."""
        return f"{self.type}_{self.source}_{self.target}"


def _tokens(prefix: str, of: str, *, nullable: bool = False) -> tuple[Column, ...]:
    """Top and bottom tokens and the norm of one of a neuron's vectors."""
    return (
        Column(f"{prefix}top_tokens", "list<string>", f"the {TOP_TOKENS} top tokens of {of}", nullable),
        Column(f"{prefix}bottom_tokens", "list<string>", f"top tokens of the negative of {of}", nullable),
        Column(f"{prefix}norm", "float32", f"Euclidean norm of {of}", nullable),
    )


_VECTOR: Final = (
    Column("id", "int64", "prompt id * 2**24 + local index; unique over all five state labels"),
    Column("prompt", "int64", "id of the Prompt"),
    Column("kind", "string", "what the vector is"),
    Column("layer", "int32", "layer, from 0; embeddings -1, final_norm the number of layers"),
    Column("position", "int32", "position of the token whose pass holds the vector, from 0"),
)
_PROJECTION: Final = (
    Column("norm", "float32", "Euclidean norm of the vector as the model holds it"),
    Column("entropy", "float32", "entropy of the projection, bits"),
    Column("top_token", "string", "the most probable token"),
    Column("top_tokens", "list<string>", f"the {TOP_TOKENS} most probable tokens"),
    Column("top_probs", "list<float32>", "their probabilities"),
    Column("top_ids", "list<int32>", f"ids of the {TOP_IDS} most probable tokens"),
    Column("target_rank", "int32", "rank of the target, 1 = first"),
    Column("target_prob", "float32", "probability of the target"),
    Column("foil_rank", "int32", "rank of the foil", nullable=True),
    Column("foil_prob", "float32", "probability of the foil", nullable=True),
)
_NAIVE: Final = (
    Column(
        LENS_COLUMN[Lens.NAIVE],
        "list<int32>",
        f"ids of the {TOP_IDS} most probable tokens without a circuit (lens `naive`)",
        nullable=True,
    ),
)
_NO_FINAL_NORM: Final = (
    Column(
        LENS_COLUMN[Lens.NO_FINAL_NORM],
        "list<int32>",
        f"ids of the {TOP_IDS} most probable tokens without the final norm (lens `no_final_norm`)",
        nullable=True,
    ),
)
_OWN_TOKEN: Final = (
    Column("source_rank", "int32", "rank of the token at the source position, 1 = first"),
    Column("source_prob", "float32", "probability of the token at the source position"),
)
_HEAD: Final = (Column("head", "int32", "head, from 0"),)
_SOURCE: Final = (Column("source", "int32", "position that the memory remembers"),)

NODE_TABLES: Final = (
    NodeTable(
        Label.MODEL,
        (
            Column("id", "string", "fingerprint of weights, config and tokenizer"),
            Column("name", "string", "name or folder name it was loaded from"),
            Column("family", "string", "architecture family, a file in model_configs"),
            Column("n_layer", "int32", "layers"),
            Column("n_head", "int32", "query heads a layer"),
            Column("n_kv_head", "int32", "key and value heads a layer"),
            Column("d_model", "int32", "width of the residual"),
            Column("d_head", "int32", "width of a head"),
            Column("d_mlp", "int32", "MLP neurons a layer (of one expert, where there are experts)"),
            Column("n_expert", "int32", "experts a layer, 1 for a plain MLP"),
            Column("vocab_size", "int32", "tokens in the unembedding"),
            Column("n_context", "int32", "longest prompt, tokens"),
            Column("parallel", "bool", "attention and MLP read the same residual (no residual_mid)"),
            Column("gated", "bool", "the MLP has a gate"),
            Column("lens", "string", "lens of the static neurons"),
        ),
    ),
    NodeTable(
        Label.NEURON,
        (
            Column("id", "int64", "model hash * 2**28 + index in the model"),
            Column("model", "string", "id of the Model"),
            Column("layer", "int32", "layer, from 0"),
            Column("matrix", "string", "`mlp` (rows of the second MLP matrix) or `attention_output` (rows of W_O)"),
            Column("index", "int32", "row of the matrix, from 0"),
            Column("head", "int32", "head that the row of W_O belongs to", nullable=True),
            Column("expert", "int32", "expert that the row belongs to", nullable=True),
            *_tokens("", "the row"),
            Column("top_probs", "list<float32>", "probabilities of top_tokens"),
            Column("top_ids", "list<int32>", f"ids of the {TOP_IDS} top tokens of the row"),
            Column("entropy", "float32", "entropy of the row's projection, bits"),
            *_tokens("key_", "the neuron's first-matrix vector (the gate's, where there is a gate)", nullable=True),
            *_tokens("up_", "the neuron's up-projection vector, where there is a gate", nullable=True),
        ),
    ),
    NodeTable(
        Label.PROMPT,
        (
            Column("id", "int64", "number in this store, from 0"),
            Column("key", "string", "content hash of text, model, target, foil, lens, positions and keep"),
            Column("model", "string", "id of the Model"),
            Column("text", "string", "the prompt"),
            Column("dataset", "string", "data set it came from", nullable=True),
            Column("group", "string", "group within the data set", nullable=True),
            Column("pair", "string", "shared by the prompts of a minimal pair", nullable=True),
            Column("role", "string", "`clean` or `corrupted` within its pair", nullable=True),
            Column("n_tokens", "int32", "tokens of the prompt"),
            Column("target", "string", "the token asked about (what the model predicts when none was given)"),
            Column("target_id", "int32", "its token id"),
            Column("foil", "string", "the token to compare with", nullable=True),
            Column("foil_id", "int32", "its token id", nullable=True),
            Column("predicted", "string", "the model's most probable next token"),
            Column("predicted_id", "int32", "its token id"),
            Column("predicted_prob", "float32", "its probability"),
            Column("target_prob", "float32", "the model's probability of the target"),
            Column("target_rank", "int32", "the target's rank in the prediction, 1 = first"),
            Column("correct", "bool", "the prediction is the target"),
            Column("target_logit", "float32", "the target's logit (before a softcap): what contributions sum to"),
            Column(
                "target_constant",
                "float32",
                "its part that no vector of the pass contributes (final norm's and unembedding's bias)",
            ),
            Column("foil_logit", "float32", "the foil's logit", nullable=True),
            Column("foil_constant", "float32", "its constant part", nullable=True),
            Column(
                "lens", "string", "lenses of the states: `circuit`, or several such as `circuit,naive,no_final_norm`"
            ),
            Column("positions", "string", "query positions: `last`, `all` or a list"),
            Column("keep", "string", "what was stored: `full`, `top:K` or `mass:P`"),
            Column("bos", "bool", "the tokenizer put a begin-of-sequence token first"),
            Column("note", "string", "what a reader must know, such as a target cut to its first token", nullable=True),
            Column("n_state", "int32", "vectors stored (all five state labels)"),
            Column("n_relationship", "int32", "relationships stored"),
            Column("complete", "bool", "everything of the prompt is stored"),
        ),
    ),
    NodeTable(
        Label.TOKEN,
        (
            Column("id", "int64", "prompt id * 2**24 + position"),
            Column("prompt", "int64", "id of the Prompt"),
            Column("position", "int32", "position, from 0"),
            Column("text", "string", "the token as text"),
            Column("token_id", "int32", "its id in the vocabulary"),
        ),
    ),
    NodeTable(Label.QUERY, (*_VECTOR, *_HEAD, *_PROJECTION, *_NAIVE)),
    NodeTable(Label.KEY, (*_VECTOR, *_HEAD, *_SOURCE, *_PROJECTION, *_NAIVE)),
    NodeTable(Label.VALUE, (*_VECTOR, *_HEAD, *_SOURCE, *_PROJECTION, *_OWN_TOKEN, *_NAIVE)),
    NodeTable(Label.HEAD, (*_VECTOR, *_HEAD, *_PROJECTION, *_NAIVE)),
    NodeTable(Label.STATE, (*_VECTOR, *_PROJECTION, *_NO_FINAL_NORM)),
)

_RANK: Final = "1 = the largest absolute score in its layer, matrix, position and prompt"
_HEAD_RANK: Final = "1 = the largest attention probability in its head"
_CONTRIBUTION: Final = (
    Column("contribution", "float32", "direct effect on the target's logit, final norm's scale frozen"),
    Column("foil_contribution", "float32", "the same for the foil's logit", nullable=True),
)


def _norm(what: str) -> Column:
    return Column("score", "float32", f"norm of {what}")


_ATTENTION: Final = Column("score", "float32", "attention probability")

RELATIONSHIP_TABLES: Final = (
    RelationshipTable(Type.HAS_TOKEN, Label.PROMPT, Label.TOKEN),
    RelationshipTable(Type.EMBEDS, Label.TOKEN, Label.STATE, (_norm("the embedding"),)),
    RelationshipTable(Type.CREATES, Label.TOKEN, Label.KEY),
    RelationshipTable(Type.CREATES, Label.TOKEN, Label.VALUE),
    RelationshipTable(Type.CREATES, Label.STATE, Label.KEY),
    RelationshipTable(Type.CREATES, Label.STATE, Label.VALUE),
    RelationshipTable(Type.NORMALIZES, Label.STATE, Label.STATE, (_norm("the normalized vector"),)),
    RelationshipTable(Type.PROJECTS, Label.STATE, Label.STATE, (_norm("the product"),)),
    RelationshipTable(Type.SPLITS, Label.STATE, Label.QUERY, (_norm("the head's query"),)),
    RelationshipTable(
        Type.ATTENDS,
        Label.QUERY,
        Label.KEY,
        (_ATTENTION, Column("rank", "int32", _HEAD_RANK), Column("logit", "float32", "attention score before softmax")),
    ),
    RelationshipTable(Type.RECALLS, Label.KEY, Label.VALUE, (_ATTENTION, Column("rank", "int32", _HEAD_RANK))),
    RelationshipTable(
        Type.SUMS,
        Label.VALUE,
        Label.HEAD,
        (
            _ATTENTION,
            Column("rank", "int32", _HEAD_RANK),
            Column("norm", "float32", "norm of score * value * W_O"),
            *_CONTRIBUTION,
        ),
    ),
    RelationshipTable(Type.CONCATENATES, Label.HEAD, Label.STATE, (_norm("head * W_O"), *_CONTRIBUTION)),
    RelationshipTable(
        Type.ACTIVATES,
        Label.STATE,
        Label.NEURON,
        (
            Column("score", "float32", "coefficient before the nonlinearity (W_O: the entry; a gated MLP: gate * up)"),
            Column("rank", "int32", _RANK),
            Column("gate", "float32", "gate before the nonlinearity, in a gated MLP", nullable=True),
            Column("up", "float32", "up-projection, in a gated MLP", nullable=True),
            Column("router", "float32", "the router's weight of the neuron's expert", nullable=True),
        ),
    ),
    RelationshipTable(
        Type.WRITES,
        Label.NEURON,
        Label.STATE,
        (
            Column("score", "float32", "coefficient after the nonlinearity (W_O: the entry)"),
            Column("rank", "int32", _RANK),
            Column("norm", "float32", "norm of score * row"),
            Column("contribution", "float32", "direct effect on the target's logit, final norm's scale frozen"),
            Column("target_rank", "int32", "rank of the target in the projection of sign(score) * row"),
        ),
    ),
    RelationshipTable(Type.ADDS, Label.STATE, Label.STATE, (_norm("what is added"), *_CONTRIBUTION)),
    RelationshipTable(Type.SKIPS, Label.STATE, Label.STATE, (_norm("the residual"),)),
)

NODE_TABLE: Final = {table.label: table for table in NODE_TABLES}
RELATIONSHIP_TABLE: Final = {table.name: table for table in RELATIONSHIP_TABLES}
TABLE_NAMES: Final = tuple([t.name for t in NODE_TABLES] + [t.name for t in RELATIONSHIP_TABLES])
