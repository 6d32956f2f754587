"""What `ilf push` does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.errors import DataError, UserError, first_line, missing
from ilf.publish.gguf import converter
from ilf.publish.layout import Published, build

HUB = "hub:"
SUFFIX = "-examples"
"""Of the data set's name on the hub, behind the model's."""


@dataclass(frozen=True)
class Pushed:
    """Where what was pushed lies: folders, or names on the hub."""

    model: str | None
    adapter: str | None
    gguf: str | None
    dataset: str
    examples: int
    said: tuple[str, ...]
    """The same in words, and how the model is used."""


def push(
    run: Path,
    to: str,
    *,
    number: int | None = None,
    public: bool = False,
    names: bool = False,
    gguf: str | None = None,
) -> Pushed:
    """Publish what a run made into a folder or on the hub.

    Args:
        run: a run folder.
        to: a folder, or `hub:OWNER/NAME`.
        number: of the round; the last by default.
        public: on the hub, for everybody to see; private by default.
        names: name the authors of feedback.
        gguf: write the model as GGUF of this type of weights, too.

    Returns:
        Where things lie, and how the model is used.

    Raises:
        UserError: nothing to publish, no such account, no network, or no converter for GGUF.
    """
    if gguf is not None:
        converter()  # before anything is copied
    if not to.startswith(HUB):
        return _told(build(run, Path(to).expanduser(), number, names=names, gguf=gguf))
    name = to.removeprefix(HUB)
    api = _api(name)
    with tempfile.TemporaryDirectory(prefix="ilf-push-") as folder:
        made = build(run, Path(folder) / "out", number, names=names, gguf=gguf)
        said = []
        weights = made.model or made.adapter
        if weights is not None:
            said.append(_upload(api, name, "model", weights, public))
        if made.model is not None and made.adapter is not None:
            said.append(_upload(api, f"{name}-adapter", "model", made.adapter, public))
        if made.gguf is not None:
            said.append(_upload(api, f"{name}-GGUF", "model", made.gguf.parent, public))
        said.append(_upload(api, name + SUFFIX, "dataset", made.dataset, public))
    model = None if made.model is None else name
    adapter = None if made.adapter is None else name if model is None else f"{name}-adapter"
    file = None if made.gguf is None else f"{name}-GGUF"
    said += _use(model, adapter, made.base, file)
    return Pushed(model, adapter, file, name + SUFFIX, made.examples, tuple(said))


def _api(name: str) -> Any:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined, unused-ignore]
    except ImportError:
        raise missing("huggingface_hub", "hub") from None
    try:
        validate_repo_id(name + SUFFIX)
    except HFValidationError as error:
        raise DataError(f"{HUB}{name}: not a name that the hub takes: {first_line(error)}") from None
    if "/" not in name:
        raise DataError(f"{HUB}{name}: {HUB}OWNER/NAME was expected")
    return HfApi()


def _upload(api: Any, name: str, kind: str, folder: Path, public: bool) -> str:
    try:
        api.create_repo(name, repo_type=kind, private=not public, exist_ok=True)
        api.upload_folder(repo_id=name, repo_type=kind, folder_path=str(folder), commit_message="ilf push")
    except Exception as error:  # the hub's client has a dozen ways to say that it does not take something
        raise UserError(f"{HUB}{name}: cannot be pushed: {first_line(error)}") from None
    return f"{kind} {name}, {'public' if public else 'private'}: {folder.name}"


def _told(made: Published) -> Pushed:
    said = [f"{made.dataset}: {made.examples} examples with their lineage"]
    if made.adapter is not None:
        said.append(f"{made.adapter}: the adapter, unmerged, of {made.base}")
    if made.model is not None:
        said.append(f"{made.model}: the model, with its card")
    if made.gguf is not None:
        said.append(f"{made.gguf}: the model for llama.cpp")
    paths = (made.model, made.adapter, made.gguf)
    model, adapter, file = (None if path is None else str(path) for path in paths)
    said += _use(model, adapter, made.base, file)
    return Pushed(model, adapter, file, str(made.dataset), made.examples, tuple(said))


def _use(model: str | None, adapter: str | None, base: str | None, gguf: str | None) -> list[str]:
    """The lines with which others open what was pushed."""
    if model is None and adapter is None:
        return ["there is no model with weights in this run"]
    said = []
    if model is not None:
        said.append(f"use it: vllm serve {model}")
        said.append(f'use it: transformers.pipeline("text-generation", model="{model}")')
    if adapter is not None:
        said.append(f"use the adapter: vllm serve {base} --enable-lora --lora-modules ilf={adapter}")
        said.append(f'use the adapter: peft.AutoPeftModelForCausalLM.from_pretrained("{adapter}")')
    if gguf is not None:
        said.append(f"use the GGUF: llama-server {'-m' if gguf.endswith('.gguf') else '-hf'} {gguf}")
    return said
