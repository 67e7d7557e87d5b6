"""The logit lens in float64, straight from its definition, and how close a projection has to come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Head:
    """The last step of a model: a norm ("layer", "rms" or "none"), the unembedding, and what follows."""

    kind: str
    weight: np.ndarray
    shift: np.ndarray | None
    eps: float
    unembedding: np.ndarray
    bias: np.ndarray | None = None
    logit_scale: float = 1.0
    softcap: float | None = None

    def logits(self, rows):
        """Logits before the softcap (which changes no order), in float64."""
        x = np.asarray(rows, np.float64)
        if self.kind == "layer":
            x = (x - x.mean(axis=1)[:, None]) / np.sqrt(x.var(axis=1)[:, None] + self.eps)
        elif self.kind == "rms":
            x = x / np.sqrt(np.mean(x * x, axis=1)[:, None] + self.eps)
        if self.kind != "none":
            x = x * np.asarray(self.weight, np.float64)
            if self.shift is not None:
                x = x + np.asarray(self.shift, np.float64)
        out = x @ np.asarray(self.unembedding, np.float64)
        if self.bias is not None:
            out = out + np.asarray(self.bias, np.float64)
        return out * self.logit_scale

    def probabilities(self, logits):
        capped = logits if self.softcap is None else self.softcap * np.tanh(logits / self.softcap)
        powers = np.exp(capped - capped.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def random_head(
    rng, kind, d, vocabulary, *, bias=False, tied=True, logit_scale=1.0, softcap=None, offset=0.0, size=1.0
):
    """Random final weights whose logits have a spread of about `size`."""
    table = (rng.standard_normal((vocabulary, d)) * size / np.sqrt(d) + offset).astype(np.float32)
    return Head(
        kind,
        (1 + 0.2 * rng.standard_normal(d)).astype(np.float32),
        (0.3 * rng.standard_normal(d)).astype(np.float32) if bias and kind == "layer" else None,
        1e-5,
        table.T if tied else np.ascontiguousarray(table.T),
        (0.5 * rng.standard_normal(vocabulary)).astype(np.float32) if bias else None,
        logit_scale,
        softcap,
    )


def ranks(logits, tokens):
    """1 + the number of greater logits, for tokens of shape (n, m); 0 for none."""
    own = np.take_along_axis(logits, np.maximum(tokens, 0), axis=1)
    counted = np.stack([1 + (logits > own[:, [m]]).sum(axis=1) for m in range(tokens.shape[1])], axis=1)
    return np.where(tokens < 0, 0, counted)


def top(logits, k):
    """Ids of the k greatest logits, the lower id first where two are equal."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :k]


def same_order(ids, logits, expected, tie=1e-6):
    """Whether `ids` are `expected` wherever the float64 logits of the two differ by more than a tie."""
    mine, theirs = (np.take_along_axis(logits, np.asarray(found, np.int64), axis=1) for found in (ids, expected))
    return bool((np.abs(mine - theirs) <= np.where(ids == expected, np.inf, tie)).all())


def check(projection, head, rows, tokens, *, closeness=1e-5):
    """Assert that a projection is that of float64 arithmetic."""
    logits = head.logits(rows)
    probabilities = head.probabilities(logits)
    n, vocabulary = logits.shape
    k, t = min(50, vocabulary), min(10, vocabulary)
    assert projection.top_ids.shape == (n, k)
    assert projection.top_probs.shape == (n, t)
    expected = ranks(logits, tokens)
    assert np.array_equal(projection.target_rank, expected[:, 0])
    assert np.array_equal(projection.foil_rank, expected[:, 1])
    order = top(logits, k)
    assert same_order(projection.top_ids, logits, order)
    assert all(len(set(row)) == k for row in projection.top_ids)
    np.testing.assert_allclose(
        projection.top_probs, np.take_along_axis(probabilities, order[:, :t], axis=1), rtol=closeness, atol=1e-30
    )
    safe = np.where(probabilities > 0, probabilities, 1.0)
    np.testing.assert_allclose(projection.entropy, -(safe * np.log2(safe)).sum(axis=1), rtol=0, atol=1e-5)
    for side, found in enumerate((projection.target_prob, projection.foil_prob)):
        wanted = np.take_along_axis(probabilities, np.maximum(tokens[:, [side]], 0), axis=1)[:, 0]
        np.testing.assert_allclose(found, np.where(tokens[:, side] < 0, np.nan, wanted), rtol=closeness, atol=1e-30)


def random_tokens(rng, n, vocabulary):
    """Targets and foils, a third of the foils missing, one row with neither."""
    tokens = rng.integers(0, vocabulary, (n, 2))
    tokens[rng.random(n) < 1 / 3, 1] = -1
    tokens[0] = -1
    return tokens
