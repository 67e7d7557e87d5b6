"""Forward passes of GPT-2 and Llama and the logit lens in float64 NumPy, straight from the weight files.

Written from the papers' formulas and independent of the code under test: it shares no function with
the package and reads nothing but a model folder's config and tensors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

Array = np.ndarray


@dataclass
class Layer:
    """Vectors of one layer at every position; head-wise ones (H, T, d_head), grouped heads repeated."""

    states: dict[str, Array] = field(default_factory=dict)
    query: Array = field(default_factory=lambda: np.zeros(0))
    key: Array = field(default_factory=lambda: np.zeros(0))
    value: Array = field(default_factory=lambda: np.zeros(0))
    head: Array = field(default_factory=lambda: np.zeros(0))
    logits: Array = field(default_factory=lambda: np.zeros(0))
    attention: Array = field(default_factory=lambda: np.zeros(0))
    w_q: Array = field(default_factory=lambda: np.zeros(0))
    w_k: Array = field(default_factory=lambda: np.zeros(0))
    w_o: Array = field(default_factory=lambda: np.zeros(0))
    mlp_value: Array = field(default_factory=lambda: np.zeros(0))
    before: Array = field(default_factory=lambda: np.zeros(0))
    after: Array = field(default_factory=lambda: np.zeros(0))
    gate: Array | None = None
    up: Array | None = None


@dataclass
class Pass:
    """One forward pass and the head of its model."""

    embeddings: dict[str, Array]
    layers: list[Layer]
    final: Array
    logits: Array
    kind: str
    gamma: Array
    beta: Array
    eps: float
    unembedding: Array

    def lens(self, rows: Array) -> Array:
        """Logits of LL(rows) (section 2.3)."""
        return norm(rows, self.kind, self.gamma, self.beta, self.eps) @ self.unembedding

    def effect(self, rows: Array, token: int, position: int) -> Array:
        """Direct effect of `rows` on a token's logit with the final norm's scale frozen at `position`."""
        last = self.layers[-1].states["residual_post"][position]
        centre = (lambda x: x - x.mean(-1, keepdims=True)) if self.kind == "layer" else (lambda x: x)
        sigma = np.sqrt((centre(last) ** 2).mean() + self.eps)
        return (centre(rows) / sigma * self.gamma) @ self.unembedding[:, token]

    def constant(self, token: int) -> float:
        """What the final norm's bias adds to a token's logit."""
        return float(self.beta @ self.unembedding[:, token])


def norm(rows: Array, kind: str, gamma: Array, beta: Array | float, eps: float) -> Array:
    """Layer norm or RMS norm."""
    if kind == "layer":
        rows = rows - rows.mean(-1, keepdims=True)
    return rows / np.sqrt((rows**2).mean(-1, keepdims=True) + eps) * gamma + beta


def softmax(logits: Array) -> Array:
    """Softmax over the last axis."""
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def entropy_bits(logits: Array) -> Array:
    """Entropy of softmax(logits), bits."""
    p = softmax(logits)
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(-1)


def reference_pass(folder: Path, ids: list[int]) -> Pass:
    """The forward pass of the model in `folder` over `ids`."""
    config = json.loads((folder / "config.json").read_text())
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    return {"gpt2": _gpt2, "llama": _llama}[config["model_type"]](config, weights, np.asarray(ids))


def _attend(layer: Layer, query: Array, key: Array, scale: float) -> None:
    steps = query.shape[1]
    scores = query @ key.transpose(0, 2, 1) * scale
    scores[:, np.triu(np.ones((steps, steps), bool), 1)] = -np.inf
    layer.logits, layer.attention = scores, softmax(scores)
    layer.head = layer.attention @ layer.value


def _gelu_new(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _gpt2(config: dict, raw: dict[str, Array], ids: Array) -> Pass:
    w = {name.removeprefix("transformer."): tensor for name, tensor in raw.items()}
    heads, width, eps = config["n_head"], config["n_embd"], config["layer_norm_epsilon"]
    size = width // heads
    embeddings = {"token_embedding": w["wte.weight"][ids], "position_embedding": w["wpe.weight"][: len(ids)]}
    x = embeddings["embedding"] = embeddings["token_embedding"] + embeddings["position_embedding"]
    layers = []
    for number in range(config["n_layer"]):
        p = f"h.{number}."
        layer = Layer()
        s = layer.states
        s["attention_norm"] = norm(x, "layer", w[p + "ln_1.weight"], w[p + "ln_1.bias"], eps)
        projection, bias = w[p + "attn.c_attn.weight"], w[p + "attn.c_attn.bias"]
        qkv = s["attention_norm"] @ projection + bias
        split = [part.reshape(len(ids), heads, size).transpose(1, 0, 2) for part in np.split(qkv, 3, axis=1)]
        layer.query, layer.key, layer.value = split
        by_head = [m.reshape(width, heads, size).transpose(1, 0, 2) for m in np.split(projection, 3, axis=1)]
        layer.w_q, layer.w_k = by_head[0], by_head[1]
        _attend(layer, layer.query, layer.key, size**-0.5)
        layer.w_o = w[p + "attn.c_proj.weight"].reshape(heads, size, width)
        s["attention_bias"] = np.tile(w[p + "attn.c_proj.bias"], (len(ids), 1))
        s["attention_output"] = np.einsum("htd,hdm->tm", layer.head, layer.w_o) + s["attention_bias"]
        s["residual_mid"] = x + s["attention_output"]
        s["mlp_norm"] = norm(s["residual_mid"], "layer", w[p + "ln_2.weight"], w[p + "ln_2.bias"], eps)
        layer.before = s["mlp_norm"] @ w[p + "mlp.c_fc.weight"] + w[p + "mlp.c_fc.bias"]
        layer.after = _gelu_new(layer.before)
        layer.mlp_value = w[p + "mlp.c_proj.weight"]
        s["mlp_bias"] = np.tile(w[p + "mlp.c_proj.bias"], (len(ids), 1))
        s["mlp_output"] = layer.after @ layer.mlp_value + s["mlp_bias"]
        x = s["residual_post"] = s["residual_mid"] + s["mlp_output"]
        layers.append(layer)
    unembedding = raw.get("lm_head.weight", w["wte.weight"]).T
    gamma, beta = w["ln_f.weight"], w["ln_f.bias"]
    final = norm(x, "layer", gamma, beta, eps)
    return Pass(embeddings, layers, final, final @ unembedding, "layer", gamma, beta, eps, unembedding)


def _llama(config: dict, raw: dict[str, Array], ids: Array) -> Pass:
    w = {name.removeprefix("model."): tensor for name, tensor in raw.items()}
    heads, groups, width, eps = (
        config[n] for n in ("num_attention_heads", "num_key_value_heads", "hidden_size", "rms_norm_eps")
    )
    size = config.get("head_dim") or width // heads
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    angle = np.arange(len(ids))[:, None] * theta ** -(np.arange(0, size, 2) / size)
    cos, sin = (np.concatenate([f(angle)] * 2, axis=1) for f in (np.cos, np.sin))

    def turn(rows: Array) -> Array:
        half = size // 2
        return rows * cos + np.concatenate([-rows[..., half:], rows[..., :half]], axis=-1) * sin

    def project(p: str, rows: Array) -> Array:
        return rows @ w[p + ".weight"].T + w.get(p + ".bias", 0.0)

    x = w["embed_tokens.weight"][ids]
    embeddings = {"token_embedding": x, "embedding": x}
    layers = []
    for number in range(config["num_hidden_layers"]):
        p = f"layers.{number}."
        layer = Layer()
        s = layer.states
        s["attention_norm"] = norm(x, "rms", w[p + "input_layernorm.weight"], 0.0, eps)
        split = {}
        for name, count in (("q", heads), ("k", groups), ("v", groups)):
            rows = project(f"{p}self_attn.{name}_proj", s["attention_norm"]).reshape(len(ids), count, size)
            split[name] = np.repeat(rows.transpose(1, 0, 2), heads // count, axis=0)
            matrix = w[f"{p}self_attn.{name}_proj.weight"].T.reshape(width, count, size).transpose(1, 0, 2)
            split["w" + name] = np.repeat(matrix, heads // count, axis=0)
        layer.query, layer.key, layer.value = split["q"], split["k"], split["v"]
        layer.w_q, layer.w_k = split["wq"], split["wk"]
        _attend(layer, turn(layer.query), turn(layer.key), size**-0.5)
        layer.w_o = w[p + "self_attn.o_proj.weight"].T.reshape(heads, size, width)
        s["attention_output"] = np.einsum("htd,hdm->tm", layer.head, layer.w_o)
        if p + "self_attn.o_proj.bias" in w:
            s["attention_bias"] = np.tile(w[p + "self_attn.o_proj.bias"], (len(ids), 1))
            s["attention_output"] = s["attention_output"] + s["attention_bias"]
        s["residual_mid"] = x + s["attention_output"]
        s["mlp_norm"] = norm(s["residual_mid"], "rms", w[p + "post_attention_layernorm.weight"], 0.0, eps)
        layer.gate, layer.up = project(p + "mlp.gate_proj", s["mlp_norm"]), project(p + "mlp.up_proj", s["mlp_norm"])
        layer.before = layer.gate * layer.up
        layer.after = layer.gate / (1 + np.exp(-layer.gate)) * layer.up
        layer.mlp_value = w[p + "mlp.down_proj.weight"].T
        s["mlp_output"] = layer.after @ layer.mlp_value
        if p + "mlp.down_proj.bias" in w:
            s["mlp_bias"] = np.tile(w[p + "mlp.down_proj.bias"], (len(ids), 1))
            s["mlp_output"] = s["mlp_output"] + s["mlp_bias"]
        x = s["residual_post"] = s["residual_mid"] + s["mlp_output"]
        layers.append(layer)
    unembedding = raw.get("lm_head.weight", w["embed_tokens.weight"]).T
    gamma = w["norm.weight"]
    final = norm(x, "rms", gamma, 0.0, eps)
    zero = np.zeros_like(gamma)
    return Pass(embeddings, layers, final, final @ unembedding, "rms", gamma, zero, eps, unembedding)
