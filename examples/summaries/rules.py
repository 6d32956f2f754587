"""What a summary is worth: four rules, each from 0 to 1, and their mean; what is missing in words.

A rule cannot read. It does not know whether a summary is true beyond its names and numbers, or well put.
"""

from __future__ import annotations

import re

from ilf.records import Task

MOST_WORDS = 25
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")
"""A capitalised word inside a sentence."""


def score(task: Task, text: str) -> tuple[float, str]:
    """R(x, t): form, length, what must be kept, nothing invented."""
    notice = task.description.partition("Notice:")[2]
    facts = kept(task, text)
    parts = [form(task, text), length(text), facts, invented(notice, text)]
    if not facts[0]:
        # A text that says nothing of the notice is short and invents nothing: that is no merit.
        parts = [parts[0], (0.0, parts[1][1]), facts, (0.0, parts[3][1])]
    return sum(value for value, _ in parts) / len(parts), " ".join(why for _, why in parts if why)


def form(task: Task, text: str) -> tuple[float, str]:
    """Half for the place and a colon at the start, half for one sentence."""
    place = task.tags[0]
    starts = text.startswith(f"{place}: ")
    sentences = len(re.findall(r"[.!?](?:\s|$)", re.sub(r"\b\d+\.\d+\b", "0", text)))
    why = [] if starts else [f"It does not start with `{place}: `."]
    why += [] if sentences == 1 else [f"It has {sentences} sentences; one is asked for."]
    return (starts + (sentences == 1)) / 2, " ".join(why)


def length(text: str) -> tuple[float, str]:
    """1 up to 25 words, 0 from 50 words on."""
    words = len(text.split())
    value = max(0.0, min(1.0, 2 - words / MOST_WORDS))
    return value, "" if words <= MOST_WORDS else f"It has {words} words; at most {MOST_WORDS} are asked for."


def kept(task: Task, text: str) -> tuple[float, str]:
    """Share of what must be kept (`tests`: names, days, numbers) that is there."""
    missing = [fact for fact in task.tests if fact.lower() not in text.lower()]
    return 1 - len(missing) / len(task.tests), f"It leaves out {' and '.join(missing)}." if missing else ""


def invented(notice: str, text: str) -> tuple[float, str]:
    """1 where every number and name stands in the notice, else 0."""
    said = [*_NUMBER.findall(text), *_NAME.findall(text)]
    new = [word for word in said if not re.search(rf"\b{re.escape(word)}\b", notice)]
    return float(not new), f"{', '.join(dict.fromkeys(new))}: not in the notice." if new else ""
