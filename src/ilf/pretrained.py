"""The one place where transformers reads a model folder: without its talk or the folder's own code."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ilf.errors import ModelError, missing

# Folders whose code the user lets run. Of the process: prompts and training read what an engine has opened.
_TRUSTED: set[Path] = set()


def trust(folder: Path) -> None:
    """Let the Python code in `folder` run from now on, with all rights of this process."""
    _TRUSTED.add(folder.resolve())


def trusted(folder: Path) -> bool:
    """Whether the user lets the Python code in `folder` run."""
    return folder.resolve() in _TRUSTED


def trusted_folders() -> tuple[Path, ...]:
    """All of them, for another process to `trust`."""
    return tuple(sorted(_TRUSTED))


def load(kind: str, folder: Path, **options: Any) -> Any:
    """`from_pretrained` of the class `kind` of transformers, quietly.

    Args:
        kind: `AutoConfig`, `AutoTokenizer` or `AutoModelForCausalLM`.
        folder: what to read.
        options: for `from_pretrained`.

    Raises:
        MissingDependency: transformers is not installed.
        ModelError: the folder needs code of its own, and was not `trust`ed.
        Exception: what transformers raises on a broken folder.
    """
    trust_it = trusted(folder)
    with quiet():
        try:
            return getattr(_transformers(), kind).from_pretrained(
                folder, trust_remote_code=trust_it, **options
            )
        except ValueError as error:
            if trust_it or "trust_remote_code" not in str(error):
                raise
    raise ModelError(
        f"{folder}: the model comes with Python code of its own (auto_map), which is not run unasked; "
        "if you trust it, set trust_remote_code = true in [engine] options "
        "(--engine-option trust_remote_code=true; ilf finetune --trust-remote-code)"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars, warnings and reports: we say what matters of them."""
    library = _transformers().utils.logging
    bars, level = library.is_progress_bar_enabled(), library.get_verbosity()
    library.disable_progress_bar()
    library.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise missing("transformers", "models") from None
    return transformers


def merge_adapter(model: Any, adapter: Path) -> Any:
    """`model` with a PEFT adapter's change added to its weights.

    Raises:
        MissingDependency: peft is not installed.
    """
    try:
        import peft
    except ImportError:
        raise missing("peft", "models") from None
    with quiet():
        return peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
