"""A text about several bugs, a part for each: sentences, or list entries, that tell what to change."""

from __future__ import annotations

import re

_TELLS = re.compile(
    r"should|must|\bneeds?\b|instead|replac|\badd|remov|\buse\b|missing|forg[eo]t|\bfix|rather than|ought|"
    r"ha[sd] to|have to|\bchang",
    re.IGNORECASE,
)
_BREAK = re.compile(r"(?<=[.!?;])\s+(?=[A-Z0-9\"'`(*-])|\n+\s*(?:[-*•]|\d+[.)])?\s*")

_BULLET = re.compile(r"^[-*•]\s+")


def parts(text: str) -> list[str]:
    """The text cut so that each part tells one thing to change; the whole text where none or one does.

    What stands before a sentence that tells goes with it; what stands behind the last one goes with that.
    """
    found: list[str] = []
    waiting: list[str] = []
    for sentence in filter(None, (_BULLET.sub("", part.strip()) for part in _BREAK.split(text))):
        waiting.append(sentence)
        if _TELLS.search(sentence):
            found.append(" ".join(waiting))
            waiting = []
    if len(found) < 2:
        return [text]
    if waiting:
        found[-1] = " ".join([found[-1], *waiting])
    return found
