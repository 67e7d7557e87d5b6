"""From a name to a model that is known to be understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from flowatlas.errors import ModelError, did_you_mean
from ingest.architecture import description as descriptions
from ingest.architecture import source as sources
from ingest.architecture.contract import Report, check
from ingest.architecture.decoder import Decoder, Forward
from ingest.architecture.description import GUIDE, Description
from ingest.architecture.parts import Parts, bind
from ingest.architecture.tokenizer import Tokenizer
from ingest.architecture.weights import HeadShape, decoder, head_shape
from ingest.capture.attention import INTERFACE
from ingest.capture.forward import Positions, capture

_NOT_DECODERS: Final = ("ForMaskedLM", "ForConditionalGeneration", "ForSequenceClassification", "EncoderModel")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be captured: its matrices, its tokenizer, and how well the contract held."""

    decoder: Decoder
    tokenizer: Tokenizer
    parts: Parts
    heads: HeadShape
    report: Report

    def capture(self, batch: Sequence[Sequence[int]], positions: Positions = "last") -> list[Forward]:
        """The forward pass of every prompt of `batch` (token ids) at its query positions.

        Prompts of different lengths are padded on the right and give what each gives alone (to 1e-5).
        Raises ModelError for a prompt that is empty or longer than the context.
        """
        return capture(self.parts, self.decoder, self.heads, batch, positions)

    @property
    def size(self) -> int:
        """Bytes of its parameters and buffers."""
        tensors = (*self.parts.model.parameters(), *self.parts.model.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def to(self, device: str) -> None:
        """Run forward passes on a torch device from now on; the decoder's matrices stay where they are."""
        for index in range(self.decoder.n_layer):
            self.decoder.layer(index)
        self.parts.model.to(device)


def load_model(source: str, *, description: Mapping[str, Any] | None = None) -> LoadedModel:
    """Load `demo`, a folder or a hub name in float32 and run the contract on it.

    Safetensors only, remote code never. `description` stands in for the family's file in
    model_configs. Raises ModelError for everything that is wrong with the model or its description.
    """
    quiet()
    folder = sources.model_folder(source)
    weights = sources.weight_files(folder)
    config = read_config(folder)
    described = _description(config, description)
    model = read_model(folder, config, described.attention.capture)
    name = "demo" if source == "demo" else folder.resolve().name if Path(source).expanduser().is_dir() else source
    understood = understand(
        model, described, name=name, family=config.model_type, fingerprint=sources.fingerprint(folder, weights)
    )
    tokenizer = Tokenizer(_tokenizer(folder), understood.decoder.vocab_size)
    return LoadedModel(understood.decoder, tokenizer, understood.parts, understood.heads, understood.report)


def quiet() -> None:
    """Keep transformers from writing progress and warnings of its own."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


@dataclass(frozen=True)
class Understood:
    """What a model is made of, and how well the contract held."""

    parts: Parts
    heads: HeadShape
    decoder: Decoder
    report: Report


def understand(model: Any, described: Description, *, name: str, family: str, fingerprint: str) -> Understood:
    """Bind a description to a model in memory and run the contract.

    Raises ModelError saying what does not fit.
    """
    try:
        parts = bind(model, described)
        heads = head_shape(parts)
        plain = decoder(parts, name=name, family=family, fingerprint=fingerprint)
        return Understood(parts, heads, plain, check(parts, plain, heads))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # A wrong path can lead to any module; what that does with our vectors nobody can foresee.
        raise ModelError(
            "The description does not fit the model: a part cannot do what its place asks for.",
            known=str(error).splitlines()[0] if str(error) else type(error).__name__,
            next_step=f"Correct the description; see {GUIDE}.",
        ) from error


def read_config(folder: Path) -> Any:
    """The model's config. Raises ModelError for one that needs code of its own or is quantised."""
    raw = sources.raw_config(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        if "auto_map" in raw:
            raise ModelError(
                f"The model in '{folder}' needs code of its own, which flowatlas never runs.",
                next_step="Use a version of the model that transformers knows without remote code.",
            ) from error
        if raw.get("model_type") is not None:
            raise _unknown_family(str(raw["model_type"])) from error
        raise ModelError(f"'{folder / 'config.json'}' is no model's config: {error}") from error
    if getattr(config, "quantization_config", None):
        raise ModelError(
            f"The model in '{folder}' is quantised.",
            known="Its weights are not plain matrices, so its vectors cannot be taken apart exactly.",
            next_step="Use the model's unquantised weights.",
        )
    return config


def _unknown_family(family: str) -> ModelError:
    known = list(descriptions.files())
    guess = did_you_mean(family, known) if known else ""
    hint = f"{guess} " if guess.startswith("Did") else ""
    return ModelError(
        f"The model family '{family}' is not known.",
        known=f"{hint}Known families: {', '.join(known)}.",
        next_step=f"`flowatlas model new FOLDER` proposes a description; {GUIDE} shows how to write one.",
    )


def _description(config: Any, given: Mapping[str, Any] | None) -> Description:
    family = str(config.model_type)
    if given is not None:
        return descriptions.resolve(given, _fields(config), "given")
    path = descriptions.files().get(family)
    if path is None:
        architectures = [str(name) for name in getattr(config, "architectures", None) or []]
        encoders = [name for name in architectures if name.endswith(_NOT_DECODERS)]
        if encoders or getattr(config, "is_encoder_decoder", False):
            raise ModelError(
                f"The model ({', '.join(architectures) or family}) is not a decoder that predicts the next token.",
                next_step="Give a causal language model.",
            )
        raise _unknown_family(family)
    return descriptions.resolve(descriptions.read(path), _fields(config), path.name)


def _fields(config: Any) -> dict[str, Any]:
    """The config's fields, with the common names that transformers maps family names to."""
    fields = dict(config.to_dict())
    fields.update({name: getattr(config, name, None) for name in getattr(config, "attribute_map", {})})
    return fields


def read_model(folder: Path, config: Any, way: str) -> Any:
    """The model itself in float32, its attention made visible in that way. Raises ModelError."""
    model: Any
    loading: dict[str, Any]
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation=INTERFACE if way == "interface" else way,
            # Tensors of another shape are reported with the missing ones, and refused below.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except KeyError as error:
        raise ModelError(
            f"attention.capture: the model knows no attention called {error}.",
            known="Its code does not use the attention interface.",
            next_step=f"Set capture to eager in the description; see {GUIDE}.",
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"The model in '{folder}' cannot be loaded: {str(error).splitlines()[0]}",
            next_step="Check the folder, or download it again.",
        ) from error
    if way == "eager" and getattr(model, "_supports_sdpa", False):
        raise ModelError(
            "attention.capture: the family's usual attention is torch's fused one; its eager code may differ "
            "(Falcon's adds ALiBi twice).",
            next_step=f"Set capture to sdpa in the description; see {GUIDE}.",
        )
    missing = sorted(loading["missing_keys"])
    misshapen = sorted(str(key[0]) for key in loading["mismatched_keys"])
    if missing or misshapen:
        raise ModelError(
            f"{len(missing) + len(misshapen)} of the model's tensors are missing from '{folder}' or have "
            f"another shape: {', '.join((missing + misshapen)[:5])}.",
            next_step="Download or save the model again.",
        )
    infinite = [name for name, tensor in model.named_parameters() if not bool(torch.isfinite(tensor).all())]
    if infinite:
        raise ModelError(
            f"The model's weights are not finite numbers: {', '.join(infinite[:5])}.",
            next_step="Check the weights; a model saved in float16 may have overflowed.",
        )
    return model.eval()


def _tokenizer(folder: Path) -> Any:
    try:
        if (folder / "tokenizer.json").is_file() and not (folder / "tokenizer_config.json").is_file():
            # Without its config AutoTokenizer builds the family's default tokenizer, which may cut differently.
            return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        # The tokenizers library raises bare Exceptions for files that it cannot read.
        raise ModelError(
            f"The tokenizer in '{folder}' cannot be loaded: {str(error).splitlines()[0] if str(error) else error!r}",
            next_step="The folder needs tokenizer.json and tokenizer_config.json.",
        ) from error
