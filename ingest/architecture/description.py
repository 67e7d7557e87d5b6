"""What a decoder family is made of: one YAML file in model_configs/, read and checked here.

Paths are dotted names of modules: those of the top level start at the model, those under `attention`
and `mlp` at a layer. Everything that shapes can tell (numbers of heads, biases, tied weights) is not
in the file. `docs/add-a-model.md` walks through writing one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flowatlas.errors import ModelError
from flowatlas.resources import resource
from flowatlas.settings import settings

GUIDE: Final = "docs/add-a-model.md"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NormDescription(_Part):
    """Layer norm or RMS norm; `offset` is added to the weight (Gemma's 1 + w); `eps` only where the
    module has neither an `eps` nor a `variance_epsilon`."""

    kind: Literal["layer", "rms"]
    offset: float = 0.0
    eps: float | None = Field(default=None, gt=0)


class AttentionDescription(_Part):
    """The attention of a layer.

    Either `query`, `key` and `value`, or one `fused` projection with its `layout`: `blocks` is
    [all queries | all keys | all values], `groups` is, for each key/value head, its queries, its key
    and its value. `query_norm` and `key_norm` act on each `head` or on the whole `projection`. `clip`
    is the config's field that bounds queries, keys and values.
    `capture` says how probabilities are seen: through transformers' attention `interface`, or, in
    families that do not use it, by watching their own `eager` or `sdpa` code.
    """

    norm: str | None = None
    query: str | None = None
    key: str | None = None
    value: str | None = None
    fused: str | None = None
    layout: Literal["blocks", "groups"] | None = None
    query_norm: str | None = None
    key_norm: str | None = None
    qk_norm: NormDescription | None = None
    qk_norm_over: Literal["head", "projection"] = "head"
    clip: str | None = None
    output: str
    post_norm: str | None = None
    capture: Literal["interface", "eager", "sdpa"] = "interface"

    @model_validator(mode="after")
    def _one_projection(self) -> Self:
        separate = [self.query, self.key, self.value]
        if (self.fused is None) == any(path is None for path in separate) or (self.fused and any(separate)):
            raise ValueError("give either query, key and value, or fused")
        if (self.fused is None) != (self.layout is None):
            raise ValueError("layout goes with fused, and only with it")
        return self


class ExpertsDescription(_Part):
    """A mixture of experts: the module that holds them all as 3-D parameters, and the parameters' names.

    The module is called with (rows, chosen experts, their weights). `key_up` is
    (expert, gate then up, d_model), `value` is (expert, d_model, index).
    """

    path: str
    key_up: str
    value: str
    activation: str


class MLPDescription(_Part):
    """The MLP of a layer: `key` is the first matrix (the gate's, where there is an `up`), `value` the last.

    `key_up` is gate and up in one matrix. In an MLP of experts everything is in `experts`.
    """

    norm: str | None = None
    key: str | None = None
    up: str | None = None
    key_up: str | None = None
    activation: str | None = None
    value: str | None = None
    experts: ExpertsDescription | None = None
    post_norm: str | None = None

    @model_validator(mode="after")
    def _one_first_matrix(self) -> Self:
        if self.experts is not None:
            if any((self.key, self.up, self.key_up, self.value, self.activation)):
                raise ValueError("experts go without key, up, key_up, activation and value")
            return self
        if (self.key is None) == (self.key_up is None) or (self.key_up and self.up):
            raise ValueError("give either key (with up, where there is a gate) or key_up")
        if self.value is None or self.activation is None:
            raise ValueError("value and activation are missing")
        return self


class Description(_Part):
    """A family. `block` is `sequential`, `parallel` (attention and MLP read the same residual) or
    `post_norm` (each norm acts on the residual after the addition, as in OPT-350m).

    Names under `embedding_multiplier`, `residual_multiplier`, `logit_multiplier`, `logit_divisor` and
    `softcap` are fields of the model's config.
    """

    layers: str
    token_embedding: str
    position_embedding: str | None = None
    embedding_projection: str | None = None
    embedding_norm: str | None = None
    embedding_multiplier: str | None = None
    final_norm: str | None = None
    output_projection: str | None = None
    norm: NormDescription
    block: Literal["sequential", "parallel", "post_norm"] = "sequential"
    weights: Literal["out_in", "in_out"] = "out_in"
    residual_multiplier: str | None = None
    logit_multiplier: str | None = None
    logit_divisor: str | None = None
    softcap: str | None = None
    attention: AttentionDescription
    mlp: MLPDescription


def folders() -> list[Path]:
    """Where the descriptions are: the user's own folder, if the settings name one, then those that ship."""
    own = settings().model_configs
    return [*([own] if own is not None else []), resource("model_configs")]


def files() -> dict[str, Path]:
    """The description of every known family: transformers' `model_type`, the stem of the file."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def summary(path: Path) -> str:
    """What the comment at the top of a description says."""
    lines = path.read_text("utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return " ".join(comment)


def read(path: Path) -> dict[str, Any]:
    """The raw content of a description file. Raises ModelError."""
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ModelError(f"The description {path} cannot be read: {error}", next_step=f"See {GUIDE}.") from error
    if not isinstance(raw, dict):
        raise ModelError(f"The description {path} is not a mapping.", next_step=f"See {GUIDE}.")
    return raw


def resolve(raw: Mapping[str, Any], config: Mapping[str, Any], name: str) -> Description:
    """The description of one model: every variant whose `when` agrees with the model's config is laid
    over the base, in order. Raises ModelError naming the fields that are wrong."""
    merged = {key: value for key, value in raw.items() if key != "variants"}
    for variant in raw.get("variants", []):
        if not isinstance(variant, dict) or "when" not in variant:
            raise ModelError(f"{name}: a variant has no 'when'.", next_step=f"See {GUIDE}.")
        missing = [field for field in variant["when"] if field not in config]
        if missing:
            raise ModelError(
                f"{name}: a variant asks for '{missing[0]}', which the model's config does not have.",
                next_step=f"See {GUIDE}.",
            )
        if all(config[field] == value for field, value in variant["when"].items()):
            merged = laid_over(merged, {key: value for key, value in variant.items() if key != "when"})
    try:
        return Description.model_validate(merged)
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ModelError(
            f"The description {name} is wrong: {'; '.join(problems)}", next_step=f"See {GUIDE}."
        ) from error


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, mapping by mapping; null takes a field away."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
