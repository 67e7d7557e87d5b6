"""A first description of an unknown family: what the modules suggest, kept where the contract agrees.

The order in which parts run (`trace`) says most of it. What it leaves open (which norm goes where, how
a fused projection is laid out, which number of the config multiplies what) is tried against the
contract, one choice at a time: the more identities hold before the first that fails, the better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import yaml

from flowatlas.errors import ModelError
from ingest.architecture import source as sources
from ingest.architecture.contract import Finding, broken, findings
from ingest.architecture.description import laid_over, resolve
from ingest.architecture.load import quiet, read_config, read_model
from ingest.architecture.parts import bind
from ingest.architecture.trace import Capture, Sort, Step, Trace, trace
from ingest.architecture.weights import decoder, head_shape

Draft = Mapping[str, Any]
_WAYS: Final[tuple[Capture, ...]] = ("interface", "sdpa", "eager")
_ROUNDS: Final = 3
_NUMBERS: Final = ("mult", "scal", "cap", "clip")


@dataclass(frozen=True)
class Proposal:
    """A description, the family it is for, and what stands against it (None: the contract holds)."""

    family: str
    description: dict[str, Any]
    problem: ModelError | None

    def text(self) -> str:
        """The description as a file for model_configs."""
        title = f"# {self.family}: proposed from the modules of a model, and held to the contract.\n"
        return title + yaml.safe_dump(self.description, sort_keys=False)


def propose(folder: Path) -> Proposal:
    """The best description found for the model in `folder`.

    Raises ModelError when the model cannot be loaded or shows no attention in any known way.
    """
    quiet()
    sources.weight_files(folder)
    config = read_config(folder)
    way, model, seen = _visible(folder, config)
    score = _Judge(model)
    draft, problem = _climb(_base(model, seen, way), list(_choices(model, seen)), score)
    return Proposal(str(config.model_type), _pruned(draft), problem)


def _visible(folder: Path, config: Any) -> tuple[Capture, Any, Trace]:
    """The model loaded in the first way in which its attention can be seen."""
    for way in _WAYS:
        try:
            model = read_model(folder, config, way)
        except ModelError:
            if way == _WAYS[-1]:
                raise
            continue
        try:
            seen = trace(model, way)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"The model in '{folder}' cannot be run on a short prompt: {str(error).splitlines()[0]}",
                next_step="Check its config; flowatlas runs it as transformers does.",
            ) from error
        if seen.attended:
            return way, model, seen
    raise ModelError(
        f"The attention of the family '{config.model_type}' cannot be seen: neither through the attention "
        "interface nor as a softmax in its own code.",
        next_step="It may not be an attention model; flowatlas cannot read it.",
    )


class _Judge:
    """How far the contract holds for a draft, and what it fails on."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: dict[str, tuple[int, ModelError | None]] = {}

    def __call__(self, draft: Draft) -> tuple[int, ModelError | None]:
        """The number of identities that hold before the first that does not, and the error for that one."""
        key = yaml.safe_dump(dict(draft))
        if key not in self._known:
            self._known[key] = self._judge(draft)
        return self._known[key]

    def _judge(self, draft: Draft) -> tuple[int, ModelError | None]:
        held = -1
        try:
            parts = bind(self._model, resolve(draft, {}, "proposal"))
            shape = head_shape(parts)
            plain = decoder(parts, name="proposal", family="proposal", fingerprint="")
            held = 0
            finding: Finding
            for finding in findings(parts, plain, shape):
                if not finding.holds:
                    return held, broken(finding)
                held += 1
        except ModelError as error:
            return held, error
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            return held, ModelError(f"A part cannot do what its place asks for: {error}")
        return held, None


def _climb(
    draft: dict[str, Any],
    choices: Sequence[Sequence[Draft]],
    judge: Callable[[Draft], tuple[int, ModelError | None]],
) -> tuple[dict[str, Any], ModelError | None]:
    """Take the best of every choice in turn, again and again, until the contract holds or nothing helps."""
    for alternatives in choices:
        draft = laid_over(draft, alternatives[0])
    best, problem = judge(draft)
    for _ in range(_ROUNDS):
        before = best
        for alternatives in choices:
            for alternative in alternatives:
                if problem is None:
                    return draft, None
                tried = laid_over(draft, alternative)
                held, wrong = judge(tried)
                if held > best:
                    draft, best, problem = tried, held, wrong
        if best == before:
            break
    return draft, problem


def _base(model: Any, seen: Trace, way: Capture) -> dict[str, Any]:
    """What needs no trying: paths that only one module can have."""
    paths = {module: name for name, module in model.named_modules()}
    linears = _of(seen.before, "linear")
    after = _of(seen.after, "linear")
    if not linears or not after:
        raise ModelError(
            "The first layer shows no projections around its attention.",
            next_step="Write the description by hand.",
        )
    module = next((step for step in (*linears, *after) if step.width_in != step.width_out), linears[0])
    in_out = tuple(module.module.weight.shape) == (module.width_in, module.width_out)  # type: ignore[arg-type]
    token = paths[model.get_input_embeddings()]
    others = [step.path for step in _of(seen.top, "embedding") if step.path != token]
    norms = [step.path for step in _of(seen.top, "norm")]
    head = paths[model.get_output_embeddings()]
    narrowing = [step for step in _of(seen.top, "linear") if step.path not in (head, token)]
    return {
        "layers": seen.layers,
        "token_embedding": token,
        "position_embedding": others[0] if others else None,
        "embedding_projection": narrowing[0].path if narrowing else None,
        "embedding_norm": norms[0] if len(norms) > 1 else None,
        "final_norm": norms[-1] if norms else None,
        "output_projection": narrowing[1].path if len(narrowing) > 1 else None,
        "weights": "in_out" if in_out and module.width_in != module.width_out else "out_in",
        "attention": {"output": after[0].path, "capture": way},
        "mlp": {},
    }


def _choices(model: Any, seen: Trace) -> Iterator[Sequence[Draft]]:
    """What is to be tried, in the order in which the contract meets it; the likeliest first."""
    yield _norm_kinds(model, seen)
    yield from _projections(seen)
    yield _norm_places(seen)
    yield from _mlps(seen)
    yield from _multipliers(model)


def _norm_kinds(model: Any, seen: Trace) -> list[Draft]:
    modules = [step.module for step in (*seen.before, *seen.after, *seen.top) if step.sort == "norm"]
    layer_first = any("LayerNorm" in type(m).__name__ or getattr(m, "bias", None) is not None for m in modules)
    kinds = ("layer", "rms") if layer_first else ("rms", "layer")
    has_eps = all(hasattr(m, "eps") or hasattr(m, "variance_epsilon") for m in modules)
    config = model.config.to_dict()
    epsilons = [value for name, value in config.items() if "eps" in name and isinstance(value, float)]
    tried = [None] if has_eps else [*epsilons, 1e-5, 1e-6]
    return [
        {"norm": {"kind": kind, "offset": offset} | ({} if eps is None else {"eps": eps})}
        for eps in tried
        for offset in (0.0, 1.0)
        for kind in kinds
    ]


def _projections(seen: Trace) -> Iterator[Sequence[Draft]]:
    linears = [step.path for step in _of(seen.before, "linear")]
    if len(linears) == 1:
        yield [{"attention": {"fused": linears[0], "layout": layout}} for layout in ("blocks", "groups")]
    else:
        orders = permutations(linears[-3:])
        yield [{"attention": dict(zip(("query", "key", "value"), order, strict=False))} for order in orders]
    norms = [step.path for step in _norms(seen.before, after=linears[0])]
    if len(norms) >= 2:
        yield [
            {"attention": {"query_norm": query, "key_norm": key, "qk_norm_over": over, "qk_norm": kind}}
            for kind in (None, {"kind": "layer"}, {"kind": "rms"})
            for over in ("head", "projection")
            for query, key in ((norms[0], norms[1]), (norms[1], norms[0]))
        ]


def _norm_places(seen: Trace) -> list[Draft]:
    """Which norm goes where, and the block that it makes."""
    first = _of(seen.before, "linear")[0].path
    before = [step.path for step in seen.before[: _index(seen.before, first)] if step.sort == "norm"]
    mlp = [step.path for step in seen.after if step.sort in ("linear", "experts")][1:]
    between = [step.path for step in seen.after[: _index(seen.after, mlp[0])] if step.sort == "norm"] if mlp else []
    behind = [step.path for step in _norms(seen.after, after=mlp[-1])] if mlp else []
    places: list[Draft] = []
    for block in ("sequential", "parallel", "post_norm"):
        for norm in (*before, None):
            for mlp_norm in (*reversed(between), *reversed(before), None):
                for post in (*[path for path in between if path != mlp_norm], None):
                    for mlp_post in (*behind, None):
                        attention = {"norm": norm, "post_norm": post}
                        mlp_part = {"norm": mlp_norm, "post_norm": mlp_post}
                        places.append({"block": block, "attention": attention, "mlp": mlp_part})
    return places


def _mlps(seen: Trace) -> Iterator[Sequence[Draft]]:
    activations = [step.path for step in _of(seen.after, "activation")]
    experts = _of(seen.after, "experts")
    if experts:
        yield [_experts(experts[0], activations)]
        return
    linears = _of(seen.after, "linear")[1:]
    paths = [step.path for step in linears]
    if len(linears) == 2 and linears[0].width_out == 2 * linears[1].width_in:
        yield [{"mlp": {"key_up": paths[0], "value": paths[1]}}]
    elif len(linears) == 2:
        yield [{"mlp": {"key": paths[0], "value": paths[1]}}]
    elif len(linears) >= 3:
        yield [{"mlp": {"key": key, "up": up, "value": value}} for key, up, value in permutations(paths[:3])]
    yield [{"mlp": {"activation": path}} for path in activations or [""]]


def _experts(step: Step, activations: list[str]) -> Draft:
    three = [(name, p) for name, p in step.module.named_parameters(recurse=False) if p.ndim == 3]
    wide = max(three, key=lambda named: named[1].numel())[0]
    narrow = next((name for name, _ in three if name != wide), wide)
    act = next((path for path in activations if path.startswith(step.path)), f"{step.path}.act_fn")
    return {"mlp": {"experts": {"path": step.path, "key_up": wide, "value": narrow, "activation": act}}}


def _multipliers(model: Any) -> Iterator[Sequence[Draft]]:
    """Numbers of the config that may multiply or bound something, by their names."""
    config = model.config.to_dict()
    names = [
        name
        for name, value in config.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and any(word in name for word in _NUMBERS)
    ]
    if not names:
        return
    yield [{"attention": {"clip": name}} for name in (None, *names)]
    yield [{"embedding_multiplier": name} for name in (None, *names)]
    yield [{"residual_multiplier": name} for name in (None, *names)]
    logits = [
        {"logit_multiplier": None, "logit_divisor": None, "softcap": None} | {field: name}
        for field in ("logit_multiplier", "logit_divisor", "softcap")
        for name in (None, *names)
    ]
    yield logits


def _of(steps: list[Step], sort: Sort) -> list[Step]:
    return [step for step in steps if step.sort == sort]


def _norms(steps: list[Step], *, after: str) -> list[Step]:
    return [step for step in steps[_index(steps, after) :] if step.sort == "norm"]


def _index(steps: list[Step], path: str) -> int:
    return next((index for index, step in enumerate(steps) if step.path == path), len(steps))


def _pruned(draft: Mapping[str, Any]) -> dict[str, Any]:
    """A draft without what is the default anyway."""
    defaults = {
        "block": "sequential",
        "weights": "out_in",
        "capture": "interface",
        "qk_norm_over": "head",
        "offset": 0.0,
    }
    kept = {key: _pruned(value) if isinstance(value, Mapping) else value for key, value in draft.items()}
    return {key: value for key, value in kept.items() if value is not None and defaults.get(key) != value}
