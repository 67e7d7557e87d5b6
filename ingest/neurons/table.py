"""The Model and Neuron tables: a model's static part, projected once (section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from flowatlas.schema import SCHEMAS
from flowatlas.vocabulary import TOP_TOKENS, Lens, Matrix
from ingest.architecture.decoder import Decoder, LayerWeights
from ingest.columns import lists, token_lists
from ingest.lens.lens import LogitLens
from ingest.neurons.index import NeuronIndex

Array = np.ndarray


def model_table(decoder: Decoder) -> pa.Table:
    """The one row of Model."""
    row = {
        "id": decoder.fingerprint,
        **{name: getattr(decoder, name) for name in SCHEMAS["Model"].names if name not in ("id", "lens")},
        "lens": str(Lens.CIRCUIT),
    }
    return pa.Table.from_pylist([row], schema=SCHEMAS["Model"])


def neuron_table(decoder: Decoder, lens: LogitLens, labels: Sequence[str]) -> pa.Table:
    """Every row of W_O and of the second MLP matrix with its projections, in the order of their ids."""
    index = NeuronIndex.of(decoder)
    text = pa.array(labels, pa.string())
    parts = []
    for layer in range(decoder.n_layer):
        weights = decoder.layer(layer)
        parts.append(_attention_output_rows(decoder, index, lens, text, layer, weights))
        parts.append(_mlp_rows(decoder, index, lens, text, layer, weights))
    return pa.concat_tables(parts).select(SCHEMAS["Neuron"].names).cast(SCHEMAS["Neuron"])


def _attention_output_rows(
    decoder: Decoder, index: NeuronIndex, lens: LogitLens, text: pa.Array, layer: int, weights: LayerWeights
) -> pa.Table:
    rows = np.ascontiguousarray(weights.w_o.reshape(index.n_attention_output, -1))
    columns = _identity(decoder, index.attention_output(layer), layer, Matrix.ATTENTION_OUTPUT, len(rows))
    columns["head"] = pa.array(np.arange(len(rows)) // decoder.d_head, pa.int32())
    columns["expert"] = pa.nulls(len(rows), pa.int32())
    return pa.table(
        columns
        | _value(lens, rows, text)
        | _key(lens, "key_", None, len(rows), text)
        | _key(lens, "up_", None, len(rows), text)
    )


def _mlp_rows(
    decoder: Decoder, index: NeuronIndex, lens: LogitLens, text: pa.Array, layer: int, weights: LayerWeights
) -> pa.Table:
    rows = np.ascontiguousarray(weights.mlp_value)
    columns = _identity(decoder, index.mlp(layer), layer, Matrix.MLP, len(rows))
    columns["head"] = pa.nulls(len(rows), pa.int32())
    expert = np.arange(len(rows)) // decoder.d_mlp
    columns["expert"] = pa.array(expert, pa.int32()) if decoder.n_expert > 1 else pa.nulls(len(rows), pa.int32())
    keys = _key(lens, "key_", weights.mlp_key, len(rows), text) | _key(lens, "up_", weights.mlp_up, len(rows), text)
    return pa.table(columns | _value(lens, rows, text) | keys)


def _identity(decoder: Decoder, first: int, layer: int, matrix: Matrix, n: int) -> dict[str, pa.Array]:
    return {
        "id": pa.array(np.arange(first, first + n), pa.int64()),
        "model": pa.repeat(decoder.fingerprint, n),
        "layer": pa.repeat(pa.scalar(layer, pa.int32()), n),
        "matrix": pa.repeat(str(matrix), n),
        "index": pa.array(np.arange(n), pa.int32()),
    }


def _value(lens: LogitLens, rows: Float[Array, "n d_model"], text: pa.Array) -> dict[str, pa.Array]:
    found = lens.project_static(rows)
    return {
        "top_tokens": token_lists(found.top_ids[:, :TOP_TOKENS], text),
        "bottom_tokens": token_lists(found.bottom_ids[:, :TOP_TOKENS], text),
        "norm": pa.array(np.linalg.norm(rows, axis=1), pa.float32()),
        "top_probs": lists(found.top_probs, pa.float32()),
        "top_ids": lists(found.top_ids, pa.int32()),
        "entropy": pa.array(found.entropy, pa.float32()),
    }


def _key(
    lens: LogitLens, prefix: str, rows: Float[Array, "n d_model"] | None, n: int, text: pa.Array
) -> dict[str, pa.Array]:
    if rows is None:
        nothing = pa.nulls(n, pa.list_(pa.string()))
        return {
            f"{prefix}top_tokens": nothing,
            f"{prefix}bottom_tokens": nothing,
            f"{prefix}norm": pa.nulls(n, pa.float32()),
        }
    found = lens.project_static(np.ascontiguousarray(rows))
    return {
        f"{prefix}top_tokens": token_lists(found.top_ids[:, :TOP_TOKENS], text),
        f"{prefix}bottom_tokens": token_lists(found.bottom_ids[:, :TOP_TOKENS], text),
        f"{prefix}norm": pa.array(np.linalg.norm(rows, axis=1), pa.float32()),
    }
