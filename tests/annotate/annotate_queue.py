"""Files for `ilf annotate RUN --tasks … --programs …`: real small tasks, and programs that fail them in real ways."""

from __future__ import annotations

import json
from pathlib import Path

TASKS = [
    {
        "task_id": "queue/parse-range",
        "description": "Turn a text such as '2-5' into the list of all whole numbers from the first to the second one. "
        "A single number such as '4' gives a list with this number.",
        "entry_point": "parse_range",
        "prefix": "def parse_range(text: str) -> list[int]:\n",
        "tests": [
            "assert parse_range('2-5') == [2, 3, 4, 5]",
            "assert parse_range('4') == [4]",
            "assert parse_range('0-0') == [0]",
            "assert parse_range('10-12') == [10, 11, 12]",
        ],
        "reference": "def parse_range(text: str) -> list[int]:\n    first, _, last = text.partition('-')\n"
        "    return list(range(int(first), int(last or first) + 1))\n",
    },
    {
        "task_id": "queue/average-word",
        "description": "Return the average length of the words of a sentence, rounded to one decimal. "
        "A sentence without words has the average 0.0.",
        "entry_point": "average_word",
        "prefix": "def average_word(sentence: str) -> float:\n",
        "tests": [
            "assert average_word('the cat sat') == 3.0",
            "assert average_word('a bcd ef') == 2.0",
            "assert average_word('one three') == 4.0",
            "assert average_word('') == 0.0",
        ],
    },
    {
        "task_id": "queue/first-unique",
        "description": "Return the first character of a text that occurs only once in it, or None if there is none.",
        "entry_point": "first_unique",
        "prefix": "def first_unique(text: str) -> str | None:\n",
        "tests": [
            "assert first_unique('swiss') == 'w'",
            "assert first_unique('level') == 'v'",
            "assert first_unique('aabb') is None",
            "assert first_unique('') is None",
        ],
    },
    {
        "task_id": "queue/is-leap",
        "description": "Check whether a year is a leap year: divisible by 4, but by 100 only if also by 400.",
        "entry_point": "is_leap",
        "prefix": "def is_leap(year: int) -> bool:\n",
        "tests": [
            "assert is_leap(2024)",
            "assert not is_leap(1900)",
            "assert is_leap(2000)",
            "assert not is_leap(2023)",
        ],
    },
    {
        "task_id": "queue/merge-counts",
        "description": "Add up two dictionaries of counts: a key that is in both gets the sum of its counts.",
        "entry_point": "merge_counts",
        "prefix": "def merge_counts(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:\n",
        "tests": [
            "assert merge_counts({'a': 1}, {'a': 2}) == {'a': 3}",
            "assert merge_counts({'a': 1}, {'b': 2}) == {'a': 1, 'b': 2}",
            "assert merge_counts({}, {}) == {}",
        ],
    },
    {
        "task_id": "queue/to-hours",
        "description": "Turn minutes into text such as '2:05': hours, a colon, and the minutes in two digits.",
        "entry_point": "to_hours",
        "prefix": "def to_hours(minutes: int) -> str:\n",
        "tests": [
            "assert to_hours(125) == '2:05'",
            "assert to_hours(60) == '1:00'",
            "assert to_hours(59) == '0:59'",
        ],
    },
]

PROGRAMS = {
    "queue/parse-range": [
        "def parse_range(text: str) -> list[int]:\n    parts = text.split('-')\n    start = int(parts[0])\n"
        "    end = int(parts[1])\n    return list(range(start, end + 1))\n",
        "def parse_range(text: str) -> list[int]:\n    # both ends of the range\n    start, end = text.split('-')\n"
        "    numbers = []\n    for number in range(int(start), int(end)):\n        numbers.append(number)\n    return numbers\n",
        "def parse_range(text: str) -> list[int]:\n    start, end = map(int, text.split('-')\n    return list(range(start, end))\n",
    ],
    "queue/average-word": [
        "def average_word(sentence: str) -> float:\n    words = sentence.split()\n"
        "    total = sum(len(word) for word in words)\n    return round(total / len(words), 1)\n",
        "def average_word(sentence: str) -> float:\n    words = sentence.split(' ')\n"
        "    return len(sentence) / len(words)\n",
    ],
    "queue/first-unique": [
        "def first_unique(text: str) -> str | None:\n    for character in text:\n"
        "        if text.count(character) > 1:\n            return character\n    return None\n",
        "def first_unique(text: str) -> str | None:\n    counts = {}\n    for character in text:\n"
        "        counts[character] = counts.get(character) + 1\n    return min(counts, key=counts.get)\n",
    ],
    "queue/is-leap": ["def is_leap(year: int) -> bool:\n    return year % 4 == 0\n"],
    "queue/merge-counts": [
        "def merge_counts(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:\n    return {**first, **second}\n"
    ],
    "queue/to-hours": [
        "def to_hours(minutes: int) -> str:\n    hours = minutes // 60\n    rest = minutes % 60\n    return f'{hours}:{rest}'\n"
    ],
}

ANSWERS = {
    "queue/parse-range": (
        "A text without a dash gives only one part, so parts[1] raises an IndexError. Use the last part instead: for "
        "a single number it is the same as the first.",
        ("parts[1]", "parts[-1]"),
    ),
    "queue/average-word": (
        "A sentence without words makes the division fail, because len(words) is 0. Return 0.0 before dividing when "
        "there are no words.",
        ("    total", "    if not words:\n        return 0.0\n    total"),
    ),
    "queue/first-unique": (
        "The comparison is the wrong way round: it returns the first character that occurs more than once. Compare "
        "the count with 1 for equality.",
        ("> 1", "== 1"),
    ),
}
"""For a task's first program: feedback, and the text to replace for the refinement."""


def write_queue(
    folder: Path, tasks: list[dict] | None = None, programs: dict[str, list[str]] | None = None
) -> list[str]:
    """Write the files; return the options of `ilf annotate`."""
    tasks = TASKS if tasks is None else tasks
    programs = PROGRAMS if programs is None else programs
    source, rows = folder / "tasks.jsonl", folder / "programs.jsonl"
    source.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    with rows.open("w") as file:
        for task in tasks:
            for index, code in enumerate(programs[task["task_id"]]):
                file.write(json.dumps({"task_id": task["task_id"], "code": code, "index": index}) + "\n")
    return ["--tasks", str(source), "--programs", str(rows)]
