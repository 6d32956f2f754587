"""The dashboard's figures: throughput, time, what each filter keeps, kinds of bug, words, agreement."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from ilf.annotate.checks import CATEGORIES
from ilf.annotate.schema import ANSWERED, Answer, Candidate, Item, Person
from ilf.annotate.store import Store
from ilf.feedback import tagger
from ilf.records import content_id

KINDS = "kinds"
"""Name of the store's state that holds what a model named: feedback's id → kinds."""
PAPER_CATEGORIES = {
    "logic": 30, "formatting": 36, "missing step": 10, "algebra": 10, "recursion": 4, "regex": 6,
    "function semantics": 2, "dynamic programming": 2, "extra step": 0,
}  # fmt: skip
"""Table 5, human feedback: share of 50 items in percent."""
PAPER_WORDS = (68.9, 48.2)
"""Table 6: words an item, mean and standard deviation."""
PAPER_BUGS = 1.8
"""Table 6: bugs addressed an item."""


_FEWEST = 5
"""Timed answers from which a rate is told: one quick answer is no pace."""


@dataclass(frozen=True)
class Figures:
    """What one group of answers (a person's, or all) comes to."""

    name: str
    answers: int
    skips: int
    returned: int
    median_seconds: float | None
    per_hour: float | None
    """Answers an hour of work (by the time that people spent on them)."""
    refinements: int
    """Answers with a refinement, and below how many of them each of the paper's filters keeps."""
    passing: int
    close: int
    """Under half of the longer program changed."""
    kept: int
    """Both."""
    words_mean: float | None
    words_sd: float | None
    bugs_mean: float | None
    warned: int
    """Answers with a warning."""
    categories: dict[str, int] = field(default_factory=dict)
    """Answers by kind of bug (an answer can have several)."""
    tagged: int = 0
    """Answers with any."""
    suggested: dict[str, int] = field(default_factory=dict)
    """Answers without a tag by the kinds that a model named (`by_model`), or that their text suggests
    (`feedback.tagger`), commonest first."""
    by_model: int = 0
    """How many of these a model looked at (`ilf feedback tag --run`)."""


@dataclass(frozen=True)
class Agreement:
    """How far people agree who answered the same item."""

    items: int
    """Items with two answers or more."""
    same_program: float
    """Share of pairs of answers that picked the same wrong program."""
    tags: float | None
    """Mean overlap of their kinds of bug (Jaccard index), over pairs where either has any."""
    both_fixed: float | None
    """Share of pairs whose refinements both pass, over pairs where both wrote one."""


@dataclass(frozen=True)
class Dashboard:
    """All of it."""

    total: Figures
    people: list[Figures]
    agreement: Agreement | None
    per_day: list[tuple[float, int]]
    """Start of a day or hour (seconds since 1970, UTC), answers submitted in it; without gaps."""
    bucket: float
    """Length of those in seconds."""


def dashboard(store: Store) -> Dashboard:
    """Compute everything from the store."""
    with store.read() as session:
        query = (
            select(Answer, Item, Person, Candidate.program)
            .join(Item, Answer.item_id == Item.id)
            .join(Person, Answer.person_id == Person.id)
            .outerjoin(Candidate, Answer.candidate_id == Candidate.id)
        )
        found = [(a, i, p, program["code"] if program else "") for a, i, p, program in session.execute(query)]
    rows = [(a, p, len(code)) for a, _, p, code in found]
    named = store.state(KINDS) or {}
    ids = {a.id: content_id(i.task_id, code, a.text) for a, i, _, code in found}
    kinds = {answer: named[name] for answer, name in ids.items() if name in named}
    names = sorted({person.name for _, person, _ in rows})
    people = [_figures(name, [(a, n) for a, p, n in rows if p.name == name], kinds) for name in names]
    answers = [a for a, _, _ in rows]
    per_day, bucket = _throughput([a.submitted for a in answers if a.state in ANSWERED and a.submitted])
    return Dashboard(
        total=_figures("All", [(a, n) for a, _, n in rows], kinds),
        people=[figures for figures in people if figures.answers or figures.skips or figures.returned],
        agreement=_agreement(answers),
        per_day=per_day,
        bucket=bucket,
    )


def _figures(name: str, rows: Sequence[tuple[Answer, int]], kinds: Mapping[int, Sequence[str]]) -> Figures:
    """Figures of one group.

    Args:
        name: of the group.
        rows: answers, and the length of the program that each is about.
        kinds: by an answer's id, what a model named.
    """
    given = [(a, length) for a, length in rows if a.state in ANSWERED and a.kind == "feedback"]
    answers = [a for a, _ in given]
    times = [a.seconds for a in answers if a.seconds > 0]
    refined = [(a, length) for a, length in given if a.refinement]
    passing = {a.id for a, _ in refined if (a.verdict or {}).get("status") == "passed"}
    close = {
        a.id
        for a, length in refined
        if a.edit_distance is not None and a.edit_distance < 0.5 * max(length, len(a.refinement or ""))
    }
    words = [len((a.text or "").split()) for a in answers]
    bugs = [a.bugs for a in answers if a.bugs is not None]
    tags = Counter(tag for a in answers for tag in a.tags or ())
    return Figures(
        name=name,
        answers=len(answers),
        skips=sum(a.state == "skipped" for a, _ in rows),
        returned=sum(a.state == "returned" for a, _ in rows),
        median_seconds=statistics.median(times) if times else None,
        per_hour=3600 * len(times) / sum(times) if len(times) >= _FEWEST else None,
        refinements=len(refined),
        passing=len(passing),
        close=len(close),
        kept=len(passing & close),
        words_mean=statistics.fmean(words) if words else None,
        words_sd=statistics.stdev(words) if len(words) > 1 else None,
        bugs_mean=statistics.fmean(bugs) if bugs else None,
        warned=sum(bool(a.warnings) for a in answers),
        categories={name: tags.get(name, 0) for name in CATEGORIES},
        tagged=sum(bool(a.tags) for a in answers),
        suggested=dict(
            Counter(
                kind
                for a in answers
                if not a.tags
                for kind in kinds.get(a.id, tagger.categories(a.text or ""))
            ).most_common()
        ),
        by_model=sum(not a.tags and a.id in kinds for a in answers),
    )


def _throughput(times: Iterable[float]) -> tuple[list[tuple[float, int]], float]:
    """Answers by hour where all fell within two days, else by day (the last 60)."""
    known = sorted(times)
    if not known:
        return [], 3600.0
    bucket = 3600.0 if known[-1] - known[0] < 2 * 86400 else 86400.0
    counts = Counter(int(time // bucket) for time in known)
    last = max(counts)
    first = max(min(counts), last - 59)
    return [(index * bucket, counts.get(index, 0)) for index in range(first, last + 1)], bucket


def _agreement(answers: Sequence[Answer]) -> Agreement | None:
    by_item: dict[int, list[Answer]] = {}
    for answer in answers:
        # A reviewer's choice between two answers does not make them agree.
        if answer.state in (*ANSWERED, "overruled") and answer.kind == "feedback":
            by_item.setdefault(answer.item_id, []).append(answer)
    shared = [group for group in by_item.values() if len(group) > 1]
    pairs = [pair for group in shared for pair in itertools.combinations(group, 2)]
    if not pairs:
        return None
    overlaps, fixed = [], []
    for one, two in pairs:
        a, b = set(one.tags or ()), set(two.tags or ())
        if a | b:
            overlaps.append(len(a & b) / len(a | b))
        if one.refinement and two.refinement:
            fixed.append(all((x.verdict or {}).get("status") == "passed" for x in (one, two)))
    return Agreement(
        items=len(shared),
        same_program=statistics.fmean(one.candidate_id == two.candidate_id for one, two in pairs),
        tags=statistics.fmean(overlaps) if overlaps else None,
        both_fixed=statistics.fmean(fixed) if fixed else None,
    )
