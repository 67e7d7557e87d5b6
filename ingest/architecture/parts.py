"""A description bound to a loaded model: its paths resolved to modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from flowatlas.errors import ModelError, did_you_mean
from ingest.architecture.description import GUIDE, Description


@dataclass(frozen=True)
class LayerParts:
    """The modules of one layer. Fused matrices stand in the fields `fused` and `key_up`."""

    layer: nn.Module
    attention_norm: nn.Module | None
    query: nn.Module | None
    key: nn.Module | None
    value: nn.Module | None
    fused: nn.Module | None
    query_norm: nn.Module | None
    key_norm: nn.Module | None
    output: nn.Module
    attention_post_norm: nn.Module | None
    mlp_norm: nn.Module | None
    mlp_key: nn.Module | None
    mlp_up: nn.Module | None
    mlp_key_up: nn.Module | None
    mlp_activation: nn.Module
    mlp_value: nn.Module | None
    experts: nn.Module | None
    mlp_post_norm: nn.Module | None


@dataclass(frozen=True)
class Parts:
    """The modules of a model, and the numbers its config gives."""

    model: Any
    config: Any
    description: Description
    token_embedding: nn.Module
    position_embedding: nn.Module | None
    embedding_projection: nn.Module | None
    embedding_norm: nn.Module | None
    final_norm: nn.Module | None
    output_projection: nn.Module | None
    unembedding: nn.Module
    layers: tuple[LayerParts, ...]
    n_head: int
    embedding_multiplier: float
    residual_multiplier: float
    logit_scale: float
    softcap: float | None
    clip: float | None

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.token_embedding.parameters()).device


def bind(model: Any, description: Description) -> Parts:
    """The parts of `model` that the description names. Raises ModelError for a path that leads nowhere."""
    unembedding = model.get_output_embeddings()
    if not isinstance(unembedding, nn.Module):
        raise ModelError("The model has no unembedding (language-model head).", next_step="Give a causal model.")
    config = model.config
    layers = _module(model, description.layers, "layers")
    if not isinstance(layers, nn.ModuleList) or not len(layers):
        raise ModelError(
            f"layers: '{description.layers}' is a {type(layers).__name__}.",
            known="A list of layers was expected.",
            next_step=f"See {GUIDE}.",
        )
    multiplier = _number(config, description.logit_multiplier, "logit_multiplier")
    divisor = _number(config, description.logit_divisor, "logit_divisor")
    return Parts(
        model=model,
        config=config,
        description=description,
        token_embedding=_module(model, description.token_embedding, "token_embedding"),
        position_embedding=_optional(model, description.position_embedding, "position_embedding"),
        embedding_projection=_optional(model, description.embedding_projection, "embedding_projection"),
        embedding_norm=_optional(model, description.embedding_norm, "embedding_norm"),
        final_norm=_optional(model, description.final_norm, "final_norm"),
        output_projection=_optional(model, description.output_projection, "output_projection"),
        unembedding=unembedding,
        layers=tuple(_layer(layer, description) for layer in layers),
        n_head=int(config.num_attention_heads),
        embedding_multiplier=_number(config, description.embedding_multiplier, "embedding_multiplier"),
        residual_multiplier=_number(config, description.residual_multiplier, "residual_multiplier"),
        logit_scale=multiplier / divisor,
        softcap=_bound(config, description.softcap, "softcap"),
        clip=_bound(config, description.attention.clip, "attention.clip"),
    )


def _layer(layer: nn.Module, description: Description) -> LayerParts:
    attention, mlp = description.attention, description.mlp
    experts = mlp.experts
    activation = experts.activation if experts else mlp.activation
    assert activation is not None
    return LayerParts(
        layer=layer,
        attention_norm=_optional(layer, attention.norm, "attention.norm"),
        query=_optional(layer, attention.query, "attention.query"),
        key=_optional(layer, attention.key, "attention.key"),
        value=_optional(layer, attention.value, "attention.value"),
        fused=_optional(layer, attention.fused, "attention.fused"),
        query_norm=_optional(layer, attention.query_norm, "attention.query_norm"),
        key_norm=_optional(layer, attention.key_norm, "attention.key_norm"),
        output=_module(layer, attention.output, "attention.output"),
        attention_post_norm=_optional(layer, attention.post_norm, "attention.post_norm"),
        mlp_norm=_optional(layer, mlp.norm, "mlp.norm"),
        mlp_key=_optional(layer, mlp.key, "mlp.key"),
        mlp_up=_optional(layer, mlp.up, "mlp.up"),
        mlp_key_up=_optional(layer, mlp.key_up, "mlp.key_up"),
        mlp_activation=_module(layer, activation, "mlp.activation"),
        mlp_value=_optional(layer, mlp.value, "mlp.value"),
        experts=_optional(layer, experts.path, "mlp.experts.path") if experts else None,
        mlp_post_norm=_optional(layer, mlp.post_norm, "mlp.post_norm"),
    )


def _optional(root: nn.Module, path: str | None, field: str) -> nn.Module | None:
    """The module at `path`; None without a path, or where the model's own code put None there."""
    if path is None:
        return None
    parent, _, name = path.rpartition(".")
    owner = _module(root, parent, field) if parent else root
    return None if getattr(owner, name, owner) is None else _module(root, path, field)


def _module(root: nn.Module, path: str, field: str) -> nn.Module:
    """The module at `path`. Raises ModelError naming the field, the step that fails and what is there."""
    module = root
    for step in path.split("."):
        below = getattr(module, step, None)
        if not isinstance(below, nn.Module):
            children = [name for name, _ in module.named_children()]
            raise ModelError(
                f"{field}: '{path}' is not a part of the model: {type(module).__name__} has no module '{step}'.",
                known=did_you_mean(step, children) or "It has no modules below it.",
                next_step=f"Correct the description; see {GUIDE}.",
            )
        module = below
    return module


def _number(config: Any, name: str | None, field: str) -> float:
    """The config's number of that name; 1 without a name. Raises ModelError where the config lacks it."""
    value = 1.0 if name is None else _field(config, name, field)
    if not isinstance(value, int | float):
        raise _no_field(name, field)
    return float(value)


def _bound(config: Any, name: str | None, field: str) -> float | None:
    """The config's number of that name; None without a name or where the config says none."""
    value = None if name is None else _field(config, name, field)
    return float(value) if value else None


def _field(config: Any, name: str, field: str) -> Any:
    """A config's field by its dotted name. Raises ModelError where the config lacks it."""
    value = config
    for step in name.split("."):
        if not hasattr(value, step):
            raise _no_field(name, field)
        value = getattr(value, step)
    return value


def _no_field(name: str | None, field: str) -> ModelError:
    return ModelError(
        f"{field}: the model's config has no number '{name}'.", next_step=f"Correct the description; see {GUIDE}."
    )
