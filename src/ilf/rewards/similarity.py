"""R by likeness to the feedback: the predecessor's other scoring rule (Scheurer et al. 2022, section 3).

Feedback often says words that a good text has. Embeddings are means of a causal model's last hidden states,
so that no further library is needed; their cosine, from −1 to 1, is mapped to [0, 1]. Such embeddings lie
close together: take it to order refinements, not for a threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ilf.kinds.text import Score
from ilf.records import Program, Task
from ilf.scoring import embeddings

if TYPE_CHECKING:
    from ilf.rewardconfig import RewardTerm


def score(tasks: Mapping[str, Task], programs: Sequence[Program], term: RewardTerm) -> list[Score | None]:
    """(1 + cos) / 2 of each refinement and its feedback; None for texts that follow none.

    Raises:
        ModelError: there is no such model, or a text is longer than its context.
    """
    assert term.model is not None
    feedback = [None if program.follows is None else program.follows.text.strip() for program in programs]
    texts = [program.code for program, f in zip(programs, feedback, strict=True) if f is not None]
    known = sorted({*texts, *(f for f in feedback if f is not None)})
    vectors = dict(zip(known, embeddings(term.model, known), strict=True))
    found: list[Score | None] = []
    for program, f in zip(programs, feedback, strict=True):
        if f is None:
            found.append(None)
            continue
        cosine = sum(a * b for a, b in zip(vectors[program.code], vectors[f], strict=True))
        found.append(Score(min(1.0, max(0.0, (1 + cosine) / 2))))
    return found
