"""Imitation learning from Language Feedback (Chen et al. 2023, arXiv 2303.16749).

    from ilf import Feedback, Task, Verifier, refine, run, verify

The names are loaded when they are first used, so that `import ilf` takes no time (`ilf.api`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilf.api import Feedback, Program, Refinement, Result, Task, Verdict, Verifier, refine, run, verify

__version__ = "0.1.0"
__all__ = [
    "Feedback",
    "Program",
    "Refinement",
    "Result",
    "Task",
    "Verdict",
    "Verifier",
    "refine",
    "run",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'ilf' has no attribute {name!r}")
    from ilf import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
