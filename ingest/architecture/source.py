"""Where a model comes from: the folder behind `demo`, a path or a hub name, and what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open

from flowatlas.errors import ModelError
from flowatlas.resources import resource

_HUB_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")
_PATTERNS: Final = ("*.safetensors", "*.json", "*.model", "*.txt", "*.tiktoken")
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_INDEX: Final = "model.safetensors.index.json"
_TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
_CHUNK: Final = 1 << 24


def model_folder(source: str) -> Path:
    """The folder of `demo`, of a path, or of a hub name (downloaded, safetensors only).

    Raises ModelError when there is no such folder and no such model on the hub, or no hub.
    """
    if source == "demo":
        return resource("demo_model")
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise ModelError(
            f"The model '{source}' is a file.",
            next_step="Give the folder that holds config.json and model.safetensors.",
        )
    if not _HUB_NAME.fullmatch(source) or source.startswith("."):
        raise ModelError(
            f"There is no model folder '{source}'.", next_step="Give 'demo', a folder, or a name on the model hub."
        )
    return _downloaded(source)


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_PATTERNS), ignore_patterns=["*/*"]))
    except RepositoryNotFoundError as error:
        problem = f"There is no folder '{name}' here and no model of that name on the hub."
        raise ModelError(problem, next_step="Check the name; a private model needs a login first.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"There is no folder '{name}' here, and the model hub cannot be reached.",
            known=str(error).splitlines()[0] if str(error) else "",
            next_step="Give the folder of a downloaded model, 'demo' for the one that ships with flowatlas, or go online.",
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, every one present and whole. Raises ModelError."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The folder '{folder}' has no config.json.", next_step="Give the folder of a transformers model."
        )
    index, single = folder / _INDEX, folder / "model.safetensors"
    if index.is_file() and not single.is_file():
        files = _shards(folder, index)
    elif single.is_file():
        files = [single]
    else:
        raise _without_safetensors(folder)
    for file in files:
        _check_whole(file)
    return files


def _shards(folder: Path, index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"The weights' index {index} cannot be read.", next_step="Download the model again."
        ) from error
    missing = [name for name in names if not (folder / str(name)).is_file()]
    if missing:
        raise ModelError(
            f"{len(missing)} of the model's {len(names)} weight files are missing from '{folder}': {', '.join(missing[:5])}.",
            next_step="Download the model again.",
        )
    return [folder / str(name) for name in names]


def _without_safetensors(folder: Path) -> ModelError:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        return ModelError(
            f"The weights in '{folder}' are not safetensors: {', '.join(pickles[:5])}.",
            known="Pickled weights can run code when they are read; flowatlas never reads them.",
            next_step="Save the model again with save_pretrained(folder), which writes safetensors.",
        )
    return ModelError(
        f"The folder '{folder}' has no weights: no model.safetensors.", next_step="Give the folder of a whole model."
    )


def _check_whole(file: Path) -> None:
    try:
        with safe_open(file, framework="np") as tensors:
            empty = not tensors.keys()
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"The weights in '{file}' cannot be read: {error}.",
            known="The file is cut short or damaged.",
            next_step="Download or save the model again.",
        ) from error
    if empty:
        raise ModelError(f"The weights in '{file}' hold no tensor.", next_step="Download or save the model again.")


def raw_config(folder: Path) -> dict[str, Any]:
    """config.json as it stands. Raises ModelError when it is no JSON object."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"'{folder / 'config.json'}' cannot be read: {error}.", next_step="Download it again."
        ) from error
    if not isinstance(config, dict):
        raise ModelError(f"'{folder / 'config.json'}' is no JSON object.", next_step="Download it again.")
    return config


def fingerprint(folder: Path, weights: list[Path]) -> str:
    """16 hex digits of the content of weights, config and tokenizer; names and dates do not count."""
    digest = hashlib.blake2b(digest_size=8)
    extra = [folder / name for name in ("config.json", *_TOKENIZER_FILES)]
    for file in [*weights, *(path for path in extra if path.is_file())]:
        digest.update(file.stat().st_size.to_bytes(8, "big"))
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
