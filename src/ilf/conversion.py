"""From a GGUF file to a model folder in Hugging Face's form."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from ilf.errors import ModelError, first_line, missing
from ilf.pretrained import load, quiet


def convert(file: Path, digest: str, folder: Path) -> None:
    """Write the float32 model folder of a GGUF file.

    Args:
        file: the GGUF file.
        digest: its sha256, for the note about where the folder comes from.
        folder: where to write.

    Raises:
        MissingDependency: gguf is not installed.
        ModelError: the file cannot be read.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    try:
        import gguf  # noqa: F401 - transformers needs it, and says so in many lines
    except ImportError:
        raise missing("gguf", "models") from None
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the reader's progress bar obeys no switch
            tokenizer = load("AutoTokenizer", file.parent, gguf_file=file.name)
            loaded = load("AutoModelForCausalLM", file.parent, gguf_file=file.name, dtype=torch.float32)
    except Exception as error:  # a broken file fails in any of its readers' layers
        raise ModelError(f"{file}: cannot be read as GGUF: {first_line(error)}") from None

    # transformers refuses to save what it loaded from GGUF, calling it quantised: a fresh model takes over.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=torch.float32
        )
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.generation_config = loaded.generation_config
    with quiet():
        model.save_pretrained(folder)
    # GGUF has no maximum for its tokenizer; without one, transformers writes 10^30.
    tokenizer.model_max_length = getattr(config, "max_position_embeddings", tokenizer.model_max_length)
    tokenizer.save_pretrained(folder)
    origin = {
        "file": file.name,
        "sha256": digest,
        "license": _gguf_text(file, "general.license"),
        "name": _gguf_text(file, "general.name"),
        "organization": _gguf_text(file, "general.organization"),
        "note": "dequantised to float32; the quantisation's rounding remains in the weights",
    }
    (folder / "origin.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


def _gguf_text(file: Path, key: str) -> str | None:
    from gguf import GGUFReader

    field = GGUFReader(file).fields.get(key)
    return None if field is None else str(field.contents())
