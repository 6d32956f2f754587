"""Make the house suite from its table, and check what the suite promises.

    python tools/house.py              # tools/house_tasks.txt becomes src/ilf/tasks/house/tasks.jsonl
    python tools/house.py --check      # only says whether the shipped file is what the table gives

The suite is about rules of a house that neither description nor shown test gives away. A line of the table
holds a function, its rules and inputs; the reference program is the function with the rules applied, and what
a test expects is what the reference gives. Every rule test ends in `# house: RULE`, so that a verdict tells
"right function, wrong rule" from the reverse. Refused: a rule test that the function without the rule passes,
another test that it fails.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilf.records import Task, write_jsonl

TABLE = Path(__file__).with_name("house_tasks.txt")
TARGET = Path(__file__).resolve().parent.parent / "src/ilf/tasks/house/tasks.jsonl"
TEST = 13
"""Tasks of `test` for each rule of one rule alone; 14 with those of two rules."""
ASKED = 10
"""Tasks of `train` with one rule that are tagged for feedback; the others choose settings (validation)."""


@dataclass(frozen=True)
class Rule:
    """One habit of the house.

    Attributes:
        says: it in words.
        before: lines that come first in the function; `{last}` is its last parameter.
        around: what the result goes through; `{}` is the result.
        helper: a function that stands above the task's.
    """

    says: str
    before: str = ""
    around: str = "{}"
    helper: str = ""


RULES = {
    "empty": Rule("no scores give -1", before="if not scores:\n    return -1"),
    "clean": Rule("names are stripped and lower-cased first", before="name = name.strip().lower()"),
    "negative": Rule(
        "a negative quantity raises ValueError",
        before='if quantity < 0:\n    raise ValueError("negative quantity")',
    ),
    "money": Rule("prices are returned with two decimals", around="round({}, 2)"),
    "units": Rule(
        "a distance in km is converted to metres first",
        before='if unit == "km":\n    distance = distance * 1000',
    ),
    "clip": Rule(
        "a level is returned through clip()",
        around="clip({})",
        helper="def clip(level: int) -> int:\n    return max(0, min(100, level))\n\n\n",
    ),
    # Those of refine.
    "missing": Rule(
        "readings that are None are passed over",
        before="readings = [reading for reading in readings if reading is not None]",
    ),
    "blank": Rule('an empty title gives "n/a"', before='if not title:\n    return "n/a"'),
    "floor": Rule("a balance is never below 0", around="max(0, {})"),
    "kind": Rule(
        "an amount that is no whole number raises TypeError",
        before="if not isinstance(amount, int):\n    raise TypeError",
    ),
    "code": Rule("a code is made upper-case first", before="code = code.upper()"),
    "period": Rule(
        "a yearly salary is made a monthly one first",
        before='if period == "year":\n    salary = salary / 12',
    ),
    "link": Rule(
        "a path is returned through link()",
        around="link({})",
        helper='def link(path: str) -> str:\n    return path.replace(" ", "-")\n\n\n',
    ),
}
REFINE = ("missing", "blank", "floor", "kind", "code", "period", "link")
"""Rules that only tasks of `refine` follow: a πRefine that learned the others would not need the feedback."""


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    rules: tuple[str, ...]
    split: str | None
    name: str
    description: str
    signature: str
    body: str
    shown: str
    function_cases: list[str]
    rule_cases: list[str]

    def program(self, rules: tuple[str, ...]) -> str:
        """The function with these rules applied."""
        last = ast.parse(f"{self.head}    pass").body[0].args.args[-1].arg  # type: ignore[attr-defined]
        lines = [line for rule in rules if RULES[rule].before for line in RULES[rule].before.split("\n")]
        result = self.body
        for rule in rules:
            result = RULES[rule].around.format(result)
        body = "".join(f"    {line}\n" for line in [*lines, f"return {result}"])
        return self.helpers + self.head + body.replace("{last}", last)

    @property
    def head(self) -> str:
        """The signature line."""
        parameters, result = self.signature.rsplit(" -> ", 1)
        return f"def {self.name.replace('-', '_')}({parameters}) -> {result}:\n"

    @property
    def helpers(self) -> str:
        """The rules' helpers, which stand above it."""
        return "".join(RULES[rule].helper for rule in self.rules)


def read_table(path: Path = TABLE) -> list[Line]:
    """The lines of the table.

    Raises:
        ValueError: one has not eight fields, or two share a name.
    """
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text or text.startswith("#"):
            continue
        fields = [field.strip() for field in f"{text} ".split(" | ")]
        if len(fields) == 7 and text.endswith("|"):
            fields = [*fields[:-1], fields[-1].removesuffix("|").strip(), ""]
        if len(fields) != 8:
            raise ValueError(f"{path.name}, line {number}: {len(fields)} fields, not 8")
        words = fields[0].split()
        split = next((word for word in words if word in ("refine", "train", "test")), None)
        cases = [[case.strip() for case in field.split(" ; ") if case.strip()] for field in fields[6:]]
        rules = tuple(word for word in words if word in RULES)
        lines.append(Line(rules, split, *fields[1:6], *cases))
    twice = {line.name for line in lines if sum(other.name == line.name for other in lines) > 1}
    if twice:
        raise ValueError(f"used twice: {', '.join(sorted(twice))}")
    return lines


def outcome(line: Line, rules: tuple[str, ...], arguments: str) -> Any:
    """What the function gives with these rules: its result, or the class of what it raises."""
    names: dict[str, Any] = {}
    exec(line.program(rules), names)  # our own table's text
    try:
        return eval(f"{line.name.replace('-', '_')}({arguments})", names)
    except Exception as error:
        return type(error)


def test_of(line: Line, arguments: str) -> str:
    """The assertion on one input."""
    call, expected = f"{line.name.replace('-', '_')}({arguments})", outcome(line, line.rules, arguments)
    if isinstance(expected, type):
        kind = expected.__name__
        caught = f'try:\n    result = {call}\nexcept {kind}:\n    result = "{kind}"\n'
        return f'{caught}assert result == "{kind}"'
    return f"assert {call} == {expected!r}"


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type: 1 is not True."""
    return type(one) is type(other) and one == other


def make(line: Line, split: str, tags: tuple[str, ...]) -> Task:
    """The task of a line.

    Raises:
        ValueError: its tests do not tell what they should.
    """
    tests = []
    for case in [line.shown, *line.function_cases]:
        if not same(outcome(line, line.rules, case), outcome(line, (), case)):
            raise ValueError(f"{line.name}: ({case}) gives the rule away")
        tests.append(test_of(line, case))
    for case in line.rule_cases:
        expected = outcome(line, line.rules, case)
        about = [
            rule
            for rule in line.rules
            if not same(expected, outcome(line, tuple(r for r in line.rules if r != rule), case))
        ]
        if not about or same(expected, outcome(line, (), case)):
            raise ValueError(f"{line.name}: ({case}) passes without the rule")
        tests.append(f"{test_of(line, case)}  # house: {' '.join(about)}")
    tested = {rule for rule in line.rules if any(rule in test.split("# house:")[-1] for test in tests)}
    if tested != set(line.rules):
        raise ValueError(f"{line.name}: not every rule has a test")
    return Task(
        task_id=f"house/{line.name}",
        description=line.description,
        entry_point=line.name.replace("-", "_"),
        prefix=line.helpers + line.head,
        reference=line.program(line.rules),
        tests=tuple(tests),
        split=split,
        tags=tags,
    )


def build(lines: list[Line]) -> list[Task]:
    """All tasks with their splits: dealt by the hash of the name, so that a task keeps its split.

    The first tag is the rule (two with `+` between them, or `none`); `asked` marks those that get feedback.
    """
    groups: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: hashlib.sha256(line.name.encode()).hexdigest()):
        groups[line.rules].append(line)
    tasks = []
    for rules, group in groups.items():
        for place, line in enumerate(group):
            if rules and set(rules) <= set(REFINE):
                split, asked = "refine", True
            elif line.split:
                split, asked = line.split, line.split == "train"
            elif rules:
                split, asked = ("test" if place < TEST else "train"), TEST <= place < TEST + ASKED
            else:
                split, asked = ("test" if place % 2 else "train"), False
            tags = ("+".join(rules) or "none", *(("asked",) if asked else ()))
            tasks.append(make(line, split, tags))
    order = ("refine", "train", "test")
    return sorted(tasks, key=lambda task: (order.index(task.split or ""), task.tags[0], task.task_id))


def main() -> int:
    """Write the suite, or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    tasks = build(read_table())
    rows = "".join(task.to_json() + "\n" for task in tasks)
    if options.check:
        alike = TARGET.exists() and TARGET.read_text(encoding="utf-8") == rows
        print("the shipped suite is what the table gives" if alike else "the shipped suite differs")
        return 0 if alike else 1
    TARGET.parent.mkdir(exist_ok=True)
    write_jsonl(TARGET, tasks)
    for split in ("refine", "train", "test"):
        counts: dict[str, int] = defaultdict(int)
        for task in tasks:
            if task.split == split:
                for rule in task.tags[0].split("+"):
                    counts[rule] += 1
        print(split, sum(task.split == split for task in tasks), "tasks:", dict(sorted(counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
