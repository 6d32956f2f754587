"""How a team works, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How a team works."""

    overlap: int = 1
    """People an item."""
    review: bool = False
    """Only answers that a reviewer accepted count."""
    suggest: bool = False
    """People are offered sentences to correct, and what they wrote before; answers say which they used."""
    guide: str = ""
    """The owner's own words on top of the guide (Markdown)."""
    idle_minutes: float = 30.0
    """A task comes back to the queue when its holder has done nothing for so long."""
    order: str = "position"
    """`position`: as queued; `gain`: what is most worth asking about first (`ilf.annotate.worth`)."""
    keep_days: float = 0.0
    """How long the content of changes is kept (`ilf.annotate.upkeep.retain`); 0: for ever."""
    title: str = "Feedback"
    """Shown on top of each page."""


@dataclass(frozen=True)
class Progress:
    """How far people are."""

    items: int
    """Items in all, removed ones left out."""
    done: int
    """Items with as many answers as asked for."""
    accepted: int
    """Accepted pieces of feedback."""
    ready: int
    """Items with as many accepted pieces as asked for: what a run that waits counts."""
    waiting: int
    """Answers that wait for a reviewer."""
    returned: int
    """Answers that went back to their author."""
    held: int
    """Items that someone is working on now."""
    questioned: int
    """Items whose tests or wording a reviewer has to look at."""
    removed: int
    """Items taken out."""
    left: int
    """Items that somebody can still work on or decide."""
    median_seconds: float | None
    """Median time an answer."""
