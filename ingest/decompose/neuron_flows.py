"""Coefficients of neurons: what activates them and what they write (appendix A.1 step 6, A.2)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ingest.architecture.decoder import ForwardLayer, LayerWeights

Array = np.ndarray
Columns = dict[str, Array]


def attention_output_neurons(
    captured: ForwardLayer, weights: LayerWeights, direction: Float[Array, "P d_model"]
) -> Columns:
    """Rows of W_O: their coefficients are the entries of the concatenated heads."""
    entries = captured.head.reshape(len(captured.head), -1)
    rows = weights.w_o.reshape(entries.shape[1], -1)
    return _columns(entries, entries, rows, direction)


def mlp_neurons(captured: ForwardLayer, weights: LayerWeights, direction: Float[Array, "P d_model"]) -> Columns:
    """Rows of the second MLP matrix.

    `input` is the coefficient before the nonlinearity; of a gated MLP it is gate * up, which has the
    sign of the coefficient after it, with `gate` and `up` beside it.
    """
    if captured.neuron is not None:
        return _chosen_neurons(captured, weights, direction)
    if captured.mlp_up is None:
        return _columns(captured.mlp_gate, captured.mlp_coefficient, weights.mlp_value, direction)
    columns = _columns(captured.mlp_gate * captured.mlp_up, captured.mlp_coefficient, weights.mlp_value, direction)
    return columns | {"gate": captured.mlp_gate.reshape(-1), "up": captured.mlp_up.reshape(-1)}


def _columns(
    inputs: Float[Array, "P F"],
    coefficients: Float[Array, "P F"],
    rows: Float[Array, "F d_model"],
    direction: Float[Array, "P d_model"],
) -> Columns:
    """Columns of ACTIVATES (`input`, `input_rank`) and WRITES for every position and neuron."""
    positions, neurons = coefficients.shape
    return {
        "position": np.repeat(np.arange(positions), neurons),
        "neuron": np.tile(np.arange(neurons, dtype=np.int64), positions),
        "input": inputs.reshape(-1),
        "input_rank": ranks_by_size(inputs).reshape(-1),
        "score": coefficients.reshape(-1),
        "rank": ranks_by_size(coefficients).reshape(-1),
        "norm": (np.abs(coefficients) * np.linalg.norm(rows, axis=1)).reshape(-1),
        "contribution": (coefficients * (direction @ rows.T)).reshape(-1),
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
