"""Coefficients of neurons: what activates them and what they write (appendix A.1 step 6, A.2)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ingest.architecture.decoder import ForwardLayer, LayerWeights
from ingest.decompose.effects import LayerEffects, StaticLayer

Array = np.ndarray
Columns = dict[str, Array]


def attention_output_neurons(captured: ForwardLayer, static: StaticLayer, effects: LayerEffects) -> Columns:
    """Rows of W_O: their coefficients are the entries of the concatenated heads."""
    entries = captured.head.reshape(len(captured.head), -1)
    return _columns(entries, entries, static.attention_row_norms, effects.attention.reshape(entries.shape))


def mlp_neurons(
    captured: ForwardLayer,
    weights: LayerWeights,
    static: StaticLayer,
    effects: LayerEffects,
    direction: Float[Array, "P d_model"],
) -> Columns:
    """Rows of the second MLP matrix.

    `input` is the coefficient before the nonlinearity; of a gated MLP it is gate * up, which has the
    sign of the coefficient after it, with `gate` and `up` beside it. `direction` is that of the MLP's
    output: the effects of chosen experts' rows are computed from it.
    """
    if effects.mlp is None:
        return _chosen_neurons(captured, weights, direction)
    if captured.mlp_up is None:
        return _columns(captured.mlp_gate, captured.mlp_coefficient, static.mlp_row_norms, effects.mlp)
    inputs = captured.mlp_gate * captured.mlp_up
    columns = _columns(inputs, captured.mlp_coefficient, static.mlp_row_norms, effects.mlp)
    return columns | {"gate": captured.mlp_gate.reshape(-1), "up": captured.mlp_up.reshape(-1)}


def _columns(
    inputs: Float[Array, "P F"],
    coefficients: Float[Array, "P F"],
    row_norms: Float[Array, " F"],
    effects: Float[Array, "P F"],
) -> Columns:
    """Columns of ACTIVATES (`input`, `input_rank`) and WRITES for every position and neuron."""
    positions, neurons = coefficients.shape
    rank = ranks_by_size(coefficients).reshape(-1)
    return {
        "position": np.repeat(np.arange(positions), neurons),
        "neuron": np.tile(np.arange(neurons, dtype=np.int64), positions),
        "input": inputs.reshape(-1),
        "input_rank": rank if inputs is coefficients else ranks_by_size(inputs).reshape(-1),
        "score": coefficients.reshape(-1),
        "rank": rank,
        "norm": (np.abs(coefficients) * row_norms).reshape(-1),
        "contribution": (coefficients * effects).reshape(-1),
    }


def _chosen_neurons(captured: ForwardLayer, weights: LayerWeights, direction: Float[Array, "P d_model"]) -> Columns:
    """Neurons of the chosen experts only; `router` is the weight of each one's expert."""
    assert captured.neuron is not None
    assert captured.router is not None
    inputs = captured.mlp_gate if captured.mlp_up is None else captured.mlp_gate * captured.mlp_up
    coefficients = captured.mlp_coefficient
    rows = weights.mlp_value[captured.neuron]
    columns = {
        "position": np.repeat(np.arange(len(inputs)), inputs.shape[1]),
        "neuron": captured.neuron.reshape(-1).astype(np.int64),
        "input": inputs.reshape(-1),
        "input_rank": ranks_by_size(inputs).reshape(-1),
        "score": coefficients.reshape(-1),
        "rank": ranks_by_size(coefficients).reshape(-1),
        "norm": (np.abs(coefficients) * np.linalg.norm(rows, axis=-1)).reshape(-1),
        "contribution": (coefficients * np.einsum("pfd,pd->pf", rows, direction, optimize=True)).reshape(-1),
        "router": captured.router.reshape(-1),
    }
    if captured.mlp_up is not None:
        columns |= {"gate": captured.mlp_gate.reshape(-1), "up": captured.mlp_up.reshape(-1)}
    return columns


def ranks_by_size(scores: Float[Array, "P F"]) -> Array:
    """Rank of every |score| in its row, 1 = the largest; equal ones in their order."""
    order = np.argsort(-np.abs(scores), axis=-1, kind="stable")
    rank = np.empty(scores.shape, np.int32)
    np.put_along_axis(rank, order, np.arange(1, scores.shape[-1] + 1, dtype=np.int32)[None, :], -1)
    return rank
