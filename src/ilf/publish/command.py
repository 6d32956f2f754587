"""What `ilf push` does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.errors import DataError, UserError, first_line, missing
from ilf.publish.layout import Published, build

HUB = "hub:"
SUFFIX = "-examples"
"""Of the data set's name on the hub, behind the model's."""


@dataclass(frozen=True)
class Pushed:
    """Where what was pushed lies: folders, or names on the hub."""

    model: str | None
    adapter: str | None
    dataset: str
    examples: int
    said: tuple[str, ...]
    """The same in words, and how the model is used."""


def push(
    run: Path, to: str, *, number: int | None = None, public: bool = False, names: bool = False
) -> Pushed:
    """Publish what a run made into a folder or on the hub.

    Args:
        run: a run folder.
        to: a folder, or `hub:OWNER/NAME`.
        number: of the round; the last by default.
        public: on the hub, for everybody to see; private by default.
        names: name the authors of feedback.

    Returns:
        Where things lie, and how the model is used.

    Raises:
        UserError: nothing to publish, no such account, or no network.
    """
    if not to.startswith(HUB):
        return _told(build(run, Path(to).expanduser(), number, names=names))
    name = to.removeprefix(HUB)
    api = _api(name)
    with tempfile.TemporaryDirectory(prefix="ilf-push-") as folder:
        made = build(run, Path(folder) / "out", number, names=names)
        said = []
        weights = made.model or made.adapter
        if weights is not None:
            said.append(_upload(api, name, "model", weights, public))
        if made.model is not None and made.adapter is not None:
            said.append(_upload(api, f"{name}-adapter", "model", made.adapter, public))
        said.append(_upload(api, name + SUFFIX, "dataset", made.dataset, public))
    said += _use(name if weights is not None else None)
    model = None if made.model is None else name
    adapter = None if made.adapter is None else name if model is None else f"{name}-adapter"
    return Pushed(model, adapter, name + SUFFIX, made.examples, tuple(said))


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
        said.append(f"{made.adapter}: the adapter, unmerged (PEFT; vllm serve BASE --enable-lora)")
    if made.model is not None:
        said.append(f"{made.model}: the model, with its card")
    said += _use(None if made.model is None else str(made.model))
    model, adapter = (None if path is None else str(path) for path in (made.model, made.adapter))
    return Pushed(model, adapter, str(made.dataset), made.examples, tuple(said))


def _use(model: str | None) -> list[str]:
    if model is None:
        return ["there is no model with weights in this run"]
    return [
        f"use it: vllm serve {model}",
        f'use it: transformers.pipeline("text-generation", model="{model}")',
    ]
