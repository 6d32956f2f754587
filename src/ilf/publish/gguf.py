"""A model as GGUF, by llama.cpp's own converter where the user has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ilf.errors import MissingDependency, UserError

CONVERTER = "convert_hf_to_gguf.py"
VARIABLE = "LLAMA_CPP"
TYPES = ("f32", "f16", "bf16", "q8_0", "auto")
"""What the converter can write; smaller ones are made from its file by llama.cpp's `llama-quantize`."""


def converter() -> Path:
    """Where llama.cpp's converter is: in the clone that LLAMA_CPP names, or on the path.

    Raises:
        MissingDependency: nowhere; the message says how to get it.
    """
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named).expanduser() / CONVERTER
        if path.is_file():
            return path
        raise MissingDependency(f"{VARIABLE}={named}: there is no {CONVERTER} in it")
    found = shutil.which(CONVERTER)
    if found is None:
        raise MissingDependency(
            f"--gguf needs llama.cpp's {CONVERTER}: git clone https://github.com/ggml-org/llama.cpp, "
            f"and set {VARIABLE} to the clone"
        )
    return Path(found)


def convert(model: Path, out: Path, kind: str) -> Path:
    """Write a model folder as one GGUF file.

    Args:
        model: a whole model in the hub's layout.
        out: the folder to write into; made where it is not there.
        kind: of its weights, one of `TYPES`.

    Returns:
        The file, `NAME-KIND.gguf`.

    Raises:
        UserError: an unknown type, no converter, or one that does not know this architecture.
    """
    if kind not in TYPES:
        raise UserError(f"--gguf: {kind!r} is not one of {', '.join(TYPES)}")
    script = converter()
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"model-{kind}.gguf"
    command = [sys.executable, str(script), str(model), "--outfile", str(file), "--outtype", kind]
    # Its own package of GGUF lies in the clone beside it, and the converter finds it there.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not file.is_file():
        last = next((line.strip() for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
        raise UserError(f"{script.name} cannot convert {model.name} ({last})")
    return file
