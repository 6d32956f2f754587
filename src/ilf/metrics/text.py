"""How far two programs are apart."""

from __future__ import annotations


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance in characters."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(a, b)


def relative_edit_distance(a: str, b: str) -> float:
    """Levenshtein distance over the longer length (0 to 1); the paper keeps refinements under 0.5."""
    return edit_distance(a, b) / max(len(a), len(b), 1)
