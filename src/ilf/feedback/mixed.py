"""Feedback source `mixed`: people for a budget of items, another source for the rest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from ilf.feedback import asking
from ilf.feedback.sources import Asked, source_of
from ilf.places import Place
from ilf.progress import say
from ilf.records import Feedback, Verdict


def gather(asked: Asked, place: Place) -> list[Feedback]:
    """What people say on the tasks chosen for them, and the other source on all others.

    A task that people skipped is one of the others. Raises as the two sources do.
    """
    settings = asked.settings.mixed
    chosen = choose(asked)
    say(f"    people ({settings.people}) are asked about {len(chosen)} of {len(asked.candidates)} tasks")
    items = source_of(settings.people)(_about(asked, chosen), place) if chosen else []
    said = {item.task_id for item in items}
    rest = [name for name in asked.tasks if name not in said]
    return items + source_of(settings.rest)(_about(asked, rest), place)


def choose(asked: Asked) -> list[str]:
    """Ids of the tasks to ask people about, the most worthwhile first, as many as the budget allows."""
    settings, best = asked.settings.mixed, asked.candidates
    samples: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in asked.verdicts:
        if verdict.task_id in best:
            samples[verdict.task_id].append(verdict)
    known = _recorded(asked) if settings.people == "recorded" else set(best)
    failures = [
        asking.failure(asked.tasks[name], ranked[0], samples[name])
        for name, ranked in sorted(best.items())
        if name in known and ranked[0][0].code.strip()
    ]
    if settings.ask == "random":
        order = asking.at_random(failures, asked.seed)
    else:
        order = [ranked.failure for ranked in asking.rank(failures)]
    return [one.task_id for one in order[: settings.budget]]


def _recorded(asked: Asked) -> set[str]:
    """Ids of the tasks on which somebody wrote."""
    from ilf.feedback import recorded

    assert asked.recorded is not None
    return {item.task_id for item in recorded.read(asked.recorded)}


def _about(asked: Asked, names: list[str]) -> Asked:
    """The same question on some of its tasks, in the given order."""
    return replace(asked, tasks={name: asked.tasks[name] for name in names})
